"""The script of plain.py with spike-aware data pruning at r = 0.5.

    python examples/pruned.py

Prints how many examples each epoch trains on (on average half of the 1,400) and the test accuracy.
"""

import sadp_dist
import torch
from sklearn.datasets import load_digits
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
images, labels = (torch.as_tensor(array) for array in load_digits(return_X_y=True))
images = images.float().view(-1, 1, 8, 8) / 16
train_set = TensorDataset(images[:1400], labels[:1400], torch.arange(1400))
pruning = sadp_dist.PruningConfig(ratio=0.5, max_ratio=0.7, min_probability=0.3, epochs=10)
store = sadp_dist.connect("memory:", run="digits", dataset_size=1400, pruning=pruning)
sampler = sadp_dist.loading.PruningSampler(store, batch_size=50)
loader = DataLoader(train_set, batch_size=50, sampler=sampler)

network = nn.Sequential(
    *(layer.Conv2d(1, 32, 3, padding=1), layer.BatchNorm2d(32), neuron.LIFNode(step_mode="m")),
    *(layer.Conv2d(32, 64, 3, stride=2, padding=1), layer.BatchNorm2d(64), neuron.LIFNode(step_mode="m")),
    *(layer.Flatten(), layer.Linear(64 * 4 * 4, 10)),
)
functional.set_step_mode(network, "m")
optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
criterion = nn.CrossEntropyLoss(reduction="none")
scorer = sadp_dist.scoring.SpikeAwareScorer(network)

for epoch in range(10):
    sampler.set_epoch(epoch)
    trained_on = 0
    for x, y, index in loader:
        weights = sampler.weights(index)
        with scorer:
            loss = sadp_dist.weighted_mean(criterion(network(x.expand(4, *x.shape)).mean(0), y), weights)
            loss.backward()
        store.push(index, scorer.scores(weights / len(index)), epoch=epoch, valid=weights > 0)
        optimizer.step()
        optimizer.zero_grad()
        functional.reset_net(network)
        trained_on += len(x)
    with torch.no_grad():
        hits = network.eval()(images[1400:].expand(4, -1, -1, -1, -1)).mean(0).argmax(1) == labels[1400:]
    functional.reset_net(network.train())
    print(f"epoch {epoch + 1:>2}: trained on {trained_on}, test accuracy {hits.float().mean():.2%}")
