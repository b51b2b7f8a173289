"""The networks, each registered under the name that a configuration gives it."""

from sadp_dist.snn.models import (  # noqa: F401  (each registers its networks)
    features,
    meta_spikeformer,
    nf_resnet,
    resnet,
    small_cnn,
    t_revsnn,
    vgg,
    vgg_ws,
)
from sadp_dist.snn.models.network import SpikingNetwork
from sadp_dist.snn.models.registry import NETWORKS, build_network, register_network

__all__ = ["NETWORKS", "SpikingNetwork", "build_network", "register_network"]
