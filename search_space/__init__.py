"""What can be chosen, what it costs, and how it becomes a network."""

from .architecture import Architecture, Choice
from .backbones import BACKBONES, get_backbone
from .budget import Budget, format_quantity, parse_quantity
from .costs.count import Cost, cost
from .errors import InputError
from .feasible.feasible_set import FeasibleSet
from .layers.base import LayerCost, NotBuildable, Signal
from .layers.fold import fold_batch_norm
from .layers.hetconv import HetConv2d
from .layers.hetconv_execution import ExecutionTable
from .layers.hetconv_tune import default_shapes, shapes_of, tune
from .layers.octave import OctConv2d
from .layers.own_operator import register_operator
from .layers.registry import Site
from .layers.res2net import Res2NetBottleneck
from .network.build import build_network
from .network.weights import load_network, read_network_file, save_network
from .space import SearchSpace

__all__ = [
    "BACKBONES",
    "Architecture",
    "Budget",
    "Choice",
    "Cost",
    "ExecutionTable",
    "FeasibleSet",
    "HetConv2d",
    "InputError",
    "LayerCost",
    "NotBuildable",
    "OctConv2d",
    "Res2NetBottleneck",
    "SearchSpace",
    "Signal",
    "Site",
    "build_network",
    "cost",
    "default_shapes",
    "fold_batch_norm",
    "format_quantity",
    "get_backbone",
    "load_network",
    "parse_quantity",
    "read_network_file",
    "register_operator",
    "save_network",
    "shapes_of",
    "tune",
]
