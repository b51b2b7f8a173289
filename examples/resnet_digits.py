"""Train torchvision's ResNet, which has no spikes, with data pruning at r = 0.5 on scikit-learn's digits.

    python examples/resnet_digits.py

Prints how many examples each epoch trains on, the test accuracy, and at the end what was saved.
"""

import sadp_dist
import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models.resnet import BasicBlock, ResNet

torch.manual_seed(0)
images, labels = (torch.as_tensor(array) for array in load_digits(return_X_y=True))
images = images.float().view(-1, 1, 8, 8).expand(-1, 3, -1, -1) / 16
train_set = TensorDataset(images[:1400], labels[:1400])
test_set = TensorDataset(images[1400:], labels[1400:])

network = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=10)
network.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)  # for images of 8x8
optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
pruner = sadp_dist.Pruner(network, train_set, ratio=0.5, epochs=10)
loader = pruner.loader(batch_size=50)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=pruner.total_steps())

for epoch in pruner.epochs():
    for x, y in loader:
        with pruner.step():
            pruner.mean(cross_entropy(network(x), y, reduction="none")).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    with torch.no_grad():
        network.eval()
        hits = sum((network(x).argmax(1) == y).sum().item() for x, y in DataLoader(test_set, 100))
        network.train()
    trained_on = pruner.sampler.shard.drawn
    print(f"epoch {epoch + 1:>2}: trained on {trained_on}, test accuracy {hits / len(test_set):.2%}")
print(pruner.report())
