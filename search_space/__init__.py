"""What can be chosen, what it costs, and how it becomes a network."""

from .architecture import Architecture, Choice
from .backbones import BACKBONES, get_backbone
from .cost import Cost, cost
from .errors import InputError
from .hetconv import HetConv2d
from .network import build_network
from .octave import OctConv2d
from .res2net import Res2NetBottleneck
from .weights import load_network, save_network

__all__ = [
    "BACKBONES",
    "Architecture",
    "Choice",
    "Cost",
    "HetConv2d",
    "InputError",
    "OctConv2d",
    "Res2NetBottleneck",
    "build_network",
    "cost",
    "get_backbone",
    "load_network",
    "save_network",
]
