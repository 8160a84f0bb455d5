"""How an architecture is scored. Needs torch and numpy; digits also need scikit-learn."""

from .base import Evaluation, EvaluationError, Evaluator, Report, keep_going
from .data.dataset import DataSet, SearchData, load_data, prepare_data
from .data.sources import SOURCES
from .data.split import Split
from .device import resolve_device, resolve_devices, seeded, select_device
from .memory import data_bytes, training_bytes
from .proxy import ProxySettings, ProxyTraining
from .registry import EVALUATORS, check_settings, create, in_force, with_objectives
from .retrain import RetrainSettings, Trained, retrain
from .training.loop import History, train_network
from .training.recipe import TrainingSettings
from .training.validation import measure

__all__ = [
    "EVALUATORS",
    "SOURCES",
    "DataSet",
    "Evaluation",
    "EvaluationError",
    "Evaluator",
    "History",
    "ProxySettings",
    "ProxyTraining",
    "Report",
    "RetrainSettings",
    "SearchData",
    "Split",
    "Trained",
    "TrainingSettings",
    "check_settings",
    "create",
    "data_bytes",
    "in_force",
    "keep_going",
    "load_data",
    "measure",
    "prepare_data",
    "resolve_device",
    "resolve_devices",
    "retrain",
    "seeded",
    "select_device",
    "train_network",
    "training_bytes",
    "with_objectives",
]
