"""What can be chosen, what it costs, and how it becomes a network."""

from .architecture import Architecture
from .backbones import BACKBONES, get_backbone
from .budget import Budget, format_quantity, parse_quantity
from .choice import Choice
from .costs.count import Cost, cost
from .errors import InputError
from .feasible.feasible_set import FeasibleSet
from .layers.base import Kept, LayerCost, NotBuildable, Signal
from .layers.fold import fold_batch_norm
from .layers.hetconv_execution import ExecutionTable
from .layers.modules.hetconv_conv2d import HetConv2d
from .layers.modules.hetconv_tune import default_shapes, shapes_of, tune
from .layers.modules.octave_conv2d import OctConv2d
from .layers.modules.res2net_conv2d import Res2NetBottleneck
from .layers.operator import Operator, Parameter, Site, ungrouped
from .layers.registry import register_operator
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
    "Kept",
    "LayerCost",
    "NotBuildable",
    "OctConv2d",
    "Operator",
    "Parameter",
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
    "ungrouped",
]
