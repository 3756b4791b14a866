"""A store that a test fills by hand, and chapter 6's tables of it."""

from simadv import store
from simadv.specs import EvalSpec
from simadv.store import Store
from simbook import chapters
from simbook.measures.autoattack import AutoAttack
from simbook.settings import EvaluationSettings
from simbook.tables import evaluation
from simbook.tables.common import among

SETTINGS = EvaluationSettings(dataset="mnist")
BY_HAND = {"commit": "0" * 40, "alone": True, "device": "none", "threads": 1, "torch": "0", "date": "2026-01-01"}


class Shelf:
    """A store that is filled by hand with untrained nets."""

    def __init__(self, root):
        self.store = Store(root)

    def put(self, spec, *, robust=None, **accuracies):
        """Store a run with its robust accuracies by epoch and Table 3's accuracies in percent of 10,000 images."""
        robust = robust or [50.0] * spec.epochs
        history = [{"epoch": e, "loss": 1.0, "clean": 99.0, "robust": value} for e, value in enumerate(robust)]
        cost = {"seconds": 60.0, "monitor_seconds": 0.0, "forward": 1, "backward": 1}
        run = self.store.finish(spec, store.build_model(spec), history, cost, BY_HAND)
        asked = chapters.asked()["06_evaluation"].get(spec, [])
        for measure in [measure for measure in asked if isinstance(measure, EvalSpec | AutoAttack)]:
            name = "clean" if measure.attack == "none" else measure.attack.split("(")[0].lower()
            name = "strong" if measure.attack == chapters.STRONGER else name
            if name in accuracies:
                images = measure.images or 10_000
                right = round(accuracies[name] / 100 * images)
                self.store.add_evaluation(run, measure, {"images": images, "true": right, "predicted": right})
        return run

    @property
    def found(self):
        return [(spec, self.store.find(spec)) for spec in chapters.evaluation(SETTINGS)]

    @property
    def frame(self):
        rows = [*chapters.evaluation_runs(SETTINGS), *chapters.seed_runs(SETTINGS)]
        return evaluation.accuracies(among(self.found, rows), store=self.store)
