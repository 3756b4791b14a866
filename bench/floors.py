"""Item 7: what one gradient pass must compute and move, how fast the device can, and how far above that we are.

Arithmetic is counted by torch's own rules (2 operations a multiply-add; convolutions and matrix products). Bytes
are those of the tensors that each operation of the stock layers reads and writes, views aside: no operation is
taken to be fused with the next one, and every tensor to come from memory.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.autograd.profiler import profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from bench import stats
from bench.nets import IMAGE_SHAPES, book_net, frozen, plain_lenet
from bench.timing import in_turn, seconds
from simadv.attacks import input_gradient
from simadv.learners import autocast
from simadv.training import steady_allocator

TYPES = {"float32": torch.float32, "bf16": torch.bfloat16}
BATCHES = {"lenet": 500, "resnet20": 128}


class Counter(TorchDispatchMode):
    """Adds up the arithmetic of all operations, and the bytes of the tensors that they read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.bytes = 0

    def __torch_dispatch__(self, function, types, values=(), options=None):
        options = options or {}
        result = function(*values, **options)
        if function.overloadpacket in flop_registry:
            self.flops += flop_registry[function.overloadpacket](*values, **options, out_val=result)
        if not function.is_view and not function.name().startswith(("aten::empty", "aten::detach")):
            tensors = [leaf for leaf in tree_leaves((values, options, result)) if isinstance(leaf, Tensor)]
            # an expanded tensor is smaller in memory than it looks
            self.bytes += sum(min(t.numel() * t.element_size(), t.untyped_storage().nbytes()) for t in tensors)
        return result


def counted(net: nn.Module, x: Tensor, y: Tensor) -> tuple[int, int]:
    """Return the floating-point operations and the bytes of one gradient pass of ``net``, weights frozen."""
    with Counter() as counter:
        input_gradient(frozen(net), x, y)
    return counter.flops, counter.bytes


def measure(*, rounds: int, threads: int, quick: bool, device: torch.device | None = None) -> dict:
    """Return the device's speeds, and for each net and precision the floors and our multiple of the larger."""
    torch.set_num_threads(threads)
    steady_allocator()
    device = device or torch.device("cpu")
    big = device.type == "cuda"
    side, span = (128, 1 << 20) if quick else ((8192, 1 << 30) if big else (2048, 1 << 28))
    passes = {
        (name, kind): ours(name, kind, device, 8 if quick else BATCHES[name]) for name in BATCHES for kind in TYPES
    }
    works = {f"matrix {kind}": product(side, dtype, device) for kind, dtype in TYPES.items()}
    works |= {"copy": copy(span, device)} | {f"{name} {kind}": work for (name, kind), work in passes.items()}
    clocks = {name: (lambda work=work: seconds(work, device)) for name, work in works.items()}
    taken = {name: stats.summary(v) for name, v in in_turn(clocks, rounds=3 * rounds, label="floors").items()}
    rates = {kind: 2 * side**3 / taken[f"matrix {kind}"]["median"] for kind in TYPES}
    bandwidth = 2 * span / taken["copy"]["median"]
    rows = []
    for name, kind in passes:
        batch = 8 if quick else BATCHES[name]
        flops, size = counted(stock(name).to(TYPES[kind]), *batch_of(name, batch, TYPES[kind]))
        found = stats.floor(flops, size, rate=rates[kind], bandwidth=bandwidth)
        ours_time, (done, _) = (
            taken[f"{name} {kind}"],
            counted(book_net(name).to(TYPES[kind]), *batch_of(name, 2, TYPES[kind])),
        )
        row = {
            "net": name,
            "precision": kind,
            "batch": batch,
            "flops_an_image": flops / batch,
            "bytes_an_image": size / batch,
        }
        row |= {f"{key}_seconds": value for key, value in found.items()} | {"seconds": ours_time["median"]}
        row |= {"spread": ours_time["spread"], "times_the_floor": ours_time["median"] / found["floor"]}
        row |= {"flops_done_an_image": done / 2, "shares": {} if big else shares(passes[name, kind])}
        rows.append(row)
    return {"flops_a_second": rates, "bytes_a_second": bandwidth, "rows": rows}


def shares(call: Callable[[], None]) -> dict[str, float]:
    """Return how the time of a call on the CPU divides, in percent: convolutions, matrix products, all the rest."""
    with profile(use_kineto=False) as seen:
        for _ in range(5):
            call()
    spent = {"convolutions": 0.0, "products": 0.0, "rest": 0.0}
    for event in seen.key_averages():
        products = event.key in ("aten::mm", "aten::addmm", "aten::bmm")
        kind = "convolutions" if "convolution" in event.key else "products" if products else "rest"
        spent[kind] += event.self_cpu_time_total
    return {kind: 100 * value / sum(spent.values()) for kind, value in spent.items()}


def stock(name: str) -> nn.Module:
    """Return the net of stock layers that is counted: the arithmetic of the paper's net, not of our way to do it."""
    net = book_net(name)
    return plain_lenet(net.state_dict()) if name == "lenet" else net


def batch_of(name: str, count: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Return made-up images and labels."""
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(count, *IMAGE_SHAPES[name], generator=generator)
    return x.to(dtype), torch.randint(10, (count,), generator=generator)


def ours(name: str, kind: str, device: torch.device, batch: int):
    """Return a call that makes one gradient pass of the book's net."""
    net = frozen(book_net(name)).to(device)
    x, y = (tensor.to(device) for tensor in batch_of(name, batch, torch.float32))

    def call() -> None:
        with autocast(device, kind):
            input_gradient(net, x, y)

    return call


def product(side: int, dtype: torch.dtype, device: torch.device):
    """Return a call that multiplies two square matrices."""
    a, b = (torch.rand(side, side, device=device).to(dtype) for _ in range(2))
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)


def copy(span: int, device: torch.device):
    """Return a call that reads and writes ``span`` bytes."""
    source = torch.zeros(span // 4, device=device)
    target = torch.ones_like(source)
    return lambda: target.copy_(source)
