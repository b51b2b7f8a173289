"""The script of plain.py with spike-aware data pruning at r = 0.5: six lines are new.

    python examples/pruned.py

Prints how many examples each epoch trains on (half of the 1,400) and the test accuracy.
"""

import sadp_dist
import torch
from sklearn.datasets import load_digits
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
images, labels = (torch.as_tensor(array) for array in load_digits(return_X_y=True))
images = images.float().view(-1, 1, 8, 8) / 16
train_set = TensorDataset(images[:1400], labels[:1400])
test_set = TensorDataset(images[1400:], labels[1400:])

network = nn.Sequential(
    *(layer.Conv2d(1, 32, 3, padding=1), layer.BatchNorm2d(32), neuron.LIFNode(step_mode="m")),
    *(layer.Conv2d(32, 64, 3, stride=2, padding=1), layer.BatchNorm2d(64), neuron.LIFNode(step_mode="m")),
    *(layer.Flatten(), layer.Linear(64 * 4 * 4, 10)),
)
functional.set_step_mode(network, "m")
optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
pruner = sadp_dist.Pruner(network, train_set, ratio=0.5, epochs=10)
loader = pruner.loader(batch_size=50)
test_loader = DataLoader(test_set, batch_size=100)


def logits(x):
    functional.reset_net(network)
    return network(x.expand(4, *x.shape)).mean(0)  # the image at each of 4 time steps


for epoch in pruner.epochs():
    trained_on = 0
    for x, y in loader:
        with pruner.step():
            pruner.mean(cross_entropy(logits(x), y, reduction="none")).backward()
        optimizer.step()
        optimizer.zero_grad()
        trained_on += len(x)
    with torch.no_grad():
        network.eval()
        hits = sum((logits(x).argmax(1) == y).sum().item() for x, y in test_loader)
        network.train()
    print(f"epoch {epoch + 1:>2}: trained on {trained_on}, test accuracy {hits / len(test_set):.2%}")
