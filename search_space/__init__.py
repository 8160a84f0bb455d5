"""What can be chosen, what it costs, and how it becomes a network."""

from .architecture import Architecture, Choice
from .backbones import BACKBONES, get_backbone
from .budget import Budget, format_quantity, parse_quantity
from .cost import Cost, cost
from .errors import InputError
from .execution import ExecutionTable
from .feasible import FeasibleSet
from .fold import fold_batch_norm
from .hetconv import HetConv2d
from .layers import LayerCost, NotBuildable, Signal
from .network import build_network
from .octave import OctConv2d
from .operators import Site
from .own_operator import register_operator
from .res2net import Res2NetBottleneck
from .space import SearchSpace
from .tune import default_shapes, shapes_of, tune
from .weights import load_network, read_network_file, save_network

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
