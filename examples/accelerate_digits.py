"""Train with Hugging Face Accelerate and data pruning at r = 0.5 on scikit-learn's digits.

    accelerate launch examples/accelerate_digits.py               # one process, or one per GPU
    torchrun --nproc-per-node 2 examples/accelerate_digits.py     # two, also without GPUs

Prints how many examples each epoch trains on and the test accuracy. Saves the scores to
accelerate_digits.npz (sadp-dist stats --store accelerate_digits.npz). The training loader is not passed to
`prepare`, which would split each rank's shard again.
"""

import sadp_dist
import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from sklearn.datasets import load_digits
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

set_seed(0)
accelerator = Accelerator(cpu=not torch.cuda.is_available())
batch_size = 50 // accelerator.num_processes
images, labels = (torch.as_tensor(array) for array in load_digits(return_X_y=True))
images = images.float().view(-1, 1, 8, 8) / 16
train_set = TensorDataset(images[:1400], labels[:1400], torch.arange(1400))
pruning = sadp_dist.PruningConfig(ratio=0.5, max_ratio=0.7, min_probability=0.3, epochs=10)
store = sadp_dist.connect("memory:", run="digits", dataset_size=1400, pruning=pruning)
sampler = sadp_dist.loading.PruningSampler(store, batch_size)
loader = DataLoader(train_set, batch_size, sampler=sampler)

network = nn.Sequential(
    *(layer.Conv2d(1, 32, 3, padding=1), layer.BatchNorm2d(32), neuron.LIFNode(step_mode="m")),
    *(layer.Conv2d(32, 64, 3, stride=2, padding=1), layer.BatchNorm2d(64), neuron.LIFNode(step_mode="m")),
    *(layer.Flatten(), layer.Linear(64 * 4 * 4, 10)),
)
functional.set_step_mode(network, "m")
network, optimizer = accelerator.prepare(network, torch.optim.AdamW(network.parameters(), lr=2e-3))
criterion = nn.CrossEntropyLoss(reduction="none")
scorer = sadp_dist.scoring.SpikeAwareScorer(network)


def logits(x):
    functional.reset_net(network)
    return network(x.to(accelerator.device).expand(4, *x.shape)).mean(0)  # the image at each of 4 time steps


for epoch in range(10):
    sampler.set_epoch(epoch)
    for x, y, index in loader:
        weights = sampler.weights(index).to(accelerator.device)
        with scorer:
            losses = criterion(logits(x), y.to(accelerator.device))
            loss = sadp_dist.weighted_mean(losses, weights)
            accelerator.backward(loss)
        scores = scorer.scores(weights / len(index), accelerator.scaler)  # None without fp16
        store.push(index, scores, epoch=epoch, valid=(weights > 0) & ~scores.isnan())
        optimizer.step()
        optimizer.zero_grad()
    with torch.no_grad():
        network.eval()
        hits = (logits(images[1400:]).argmax(1).cpu() == labels[1400:]).float()
        network.train()
    trained_on = sampler.shard.drawn
    accelerator.print(f"epoch {epoch + 1:>2}: trained on {trained_on}, test accuracy {hits.mean():.2%}")
store.save("accelerate_digits.npz")
accelerator.end_training()
