"""The networks, each registered under the name that a configuration gives it."""

from sadp_dist.snn.models import resnet, small_cnn, vgg  # noqa: F401  (each registers its networks)
from sadp_dist.snn.models.network import SpikingNetwork
from sadp_dist.snn.models.registry import NETWORKS, build_network, register_network

__all__ = ["NETWORKS", "SpikingNetwork", "build_network", "register_network"]
