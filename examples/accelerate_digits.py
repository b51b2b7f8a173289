"""Train with Hugging Face Accelerate and data pruning at r = 0.5 on scikit-learn's digits.

    accelerate launch examples/accelerate_digits.py               # one process, or one per GPU
    torchrun --nproc-per-node 2 examples/accelerate_digits.py     # two, also without GPUs

Prints how many examples each epoch trains on and the test accuracy. Saves the scores to
accelerate_digits.npz (sadp-dist stats --store accelerate_digits.npz). The training loader has this rank's
share, so `prepare` does not get it.
"""

import sadp_dist
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from sklearn.datasets import load_digits
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import TensorDataset

set_seed(0)
accelerator = Accelerator(cpu=not torch.cuda.is_available())
batch_size = 50 // accelerator.num_processes
images, labels = (torch.as_tensor(array) for array in load_digits(return_X_y=True))
images = images.float().view(-1, 1, 8, 8) / 16
train_set = TensorDataset(images[:1400], labels[:1400])

network = nn.Sequential(
    *(layer.Conv2d(1, 32, 3, padding=1), layer.BatchNorm2d(32), neuron.LIFNode(step_mode="m")),
    *(layer.Conv2d(32, 64, 3, stride=2, padding=1), layer.BatchNorm2d(64), neuron.LIFNode(step_mode="m")),
    *(layer.Flatten(), layer.Linear(64 * 4 * 4, 10)),
)
functional.set_step_mode(network, "m")
network, optimizer = accelerator.prepare(network, torch.optim.AdamW(network.parameters(), lr=2e-3))
pruner = sadp_dist.Pruner(network, train_set, ratio=0.5, epochs=10)
loader = pruner.loader(batch_size)


def logits(x):
    functional.reset_net(network)
    return network(x.to(accelerator.device).expand(4, *x.shape)).mean(0)  # the image at each of 4 time steps


for epoch in pruner.epochs():
    for x, y in loader:
        with pruner.step():
            losses = cross_entropy(logits(x), y.to(accelerator.device), reduction="none")
            accelerator.backward(pruner.mean(losses))
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        network.eval()
        hits = (logits(images[1400:]).argmax(1).cpu() == labels[1400:]).float()
        network.train()
    trained_on = pruner.sampler.shard.drawn
    accelerator.print(f"epoch {epoch + 1:>2}: trained on {trained_on}, test accuracy {hits.mean():.2%}")
pruner.store.save("accelerate_digits.npz")
accelerator.end_training()
