r"""A part of a step as one CUDA graph: recorded once a shape, and replayed with a single launch from then on."""

import gc
from collections import Counter
from collections.abc import Callable

from torch import Tensor, cuda, nn

DEVICES = ("cuda",)
WARM_UP = 3  # calls of a shape before it is recorded


class Replayed:
    r"""``function(model, *values)``, launched on a CUDA device as one graph for a model that is ``replayable``.

    The first calls run as they are, on a stream of their own, where libraries set themselves up; the next one is
    recorded, which does no work, and replayed, as are all that follow. So every call does its work once. Recorded is
    what reaches the device: the function must keep what it changes in place (weights, moments), may not look at a
    value, and draws no random numbers of a generator of its own. What is no tensor belongs to the record's name.

    Args:
        function: of the model and tensors to a tensor.
    """

    def __init__(self, function: Callable) -> None:
        self.function, self.stream, self.calls, self.records = function, None, Counter(), {}

    def __call__(self, model: nn.Module, *values) -> Tensor:
        """Return what the function returns, in a tensor of the caller's own."""
        wanted = any(isinstance(v, Tensor) and v.requires_grad for v in values)  # a gradient, of the caller's own
        if wanted or not getattr(model, "replayable", False) or values[0].device.type not in DEVICES:
            return self.function(model, *values)
        self.stream = self.stream or cuda.Stream(values[0].device)
        name = (model, *((v.shape, v.dtype) if isinstance(v, Tensor) else v for v in values))
        self.calls[name] += 1
        if self.calls[name] <= WARM_UP:
            self.stream.wait_stream(cuda.current_stream(self.stream.device))
            with cuda.stream(self.stream):
                result = self.function(model, *values)
            cuda.current_stream(self.stream.device).wait_stream(self.stream)
            return result
        if name not in self.records:
            self.records[name] = self._record(model, values)
        graph, inputs, result = self.records[name]
        for mine, given in zip(inputs, values, strict=True):
            if isinstance(given, Tensor):
                mine.copy_(given)
        graph.replay()
        return result.clone()

    def _record(self, model: nn.Module, values: tuple) -> tuple:
        """Return the graph, the tensors that it reads, and the one that it writes; they stay where they are."""
        inputs = [v.clone() if isinstance(v, Tensor) else v for v in values]
        gc.collect()  # else an earlier run's graphs may be destroyed during the recording, which breaks it
        graph = cuda.CUDAGraph()
        with cuda.device(self.stream.device), cuda.graph(graph, stream=self.stream):
            result = self.function(model, *inputs)
        return graph, inputs, result
