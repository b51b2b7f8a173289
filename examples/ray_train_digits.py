"""Train with Ray Train and data pruning at r = 0.5 on scikit-learn's digits. A Ray actor keeps the scores.

    python examples/ray_train_digits.py        # two workers, on the cluster in RAY_ADDRESS or on this machine

Prints how many examples each epoch trains on and the test accuracy. Saves the scores to
ray_train_digits.npz. You can query the scores during the run, and afterwards if the cluster stays:
sadp-dist stats --store ray:auto --run digits.
"""

import os

import ray
import sadp_dist
import torch
from ray.train import ScalingConfig
from ray.train.torch import TorchTrainer, get_device, prepare_model
from sklearn.datasets import load_digits
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset


def train(config):
    torch.manual_seed(0)
    device, workers = get_device(), ray.train.get_context().get_world_size()
    images, labels = (torch.as_tensor(array) for array in load_digits(return_X_y=True))
    images = images.float().view(-1, 1, 8, 8) / 16
    train_set = TensorDataset(images[:1400], labels[:1400])

    network = nn.Sequential(
        *(layer.Conv2d(1, 32, 3, padding=1), layer.BatchNorm2d(32), neuron.LIFNode(step_mode="m")),
        *(layer.Conv2d(32, 64, 3, stride=2, padding=1), layer.BatchNorm2d(64), neuron.LIFNode(step_mode="m")),
        *(layer.Flatten(), layer.Linear(64 * 4 * 4, 10)),
    )
    functional.set_step_mode(network, "m")
    network = prepare_model(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    pruner = sadp_dist.Pruner(network, train_set, ratio=0.5, epochs=10, store="ray:auto", run="digits")
    pruner.store.reset()  # the actor outlives the job: start again
    loader = pruner.loader(batch_size=50 // workers)  # has this worker's share: no prepare_data_loader

    def logits(x):
        functional.reset_net(network)
        return network(x.to(device).expand(4, *x.shape)).mean(0)  # the image at each of 4 time steps

    for epoch in pruner.epochs():
        for x, y in loader:
            with pruner.step():
                pruner.mean(cross_entropy(logits(x), y.to(device), reduction="none")).backward()
            optimizer.step()
            optimizer.zero_grad()
        with torch.no_grad():
            network.eval()
            hits = (logits(images[1400:]).argmax(1).cpu() == labels[1400:]).float()
            network.train()
        if pruner.sampler.rank == 0:
            trained_on = pruner.sampler.shard.drawn
            print(f"epoch {epoch + 1:>2}: trained on {trained_on}, test accuracy {hits.mean():.2%}")
    pruner.store.save(config["scores"])  # includes the pushes of every worker
    pruner.store.close()
    return f"{hits.mean():.2%}"


if __name__ == "__main__":
    scaling = ScalingConfig(num_workers=2, use_gpu=torch.cuda.device_count() > 1)
    scores = {"scores": os.path.abspath("ray_train_digits.npz")}
    result = TorchTrainer(train, train_loop_config=scores, scaling_config=scaling).fit()
    print(f"test accuracy after the last epoch: {result.return_value}")
