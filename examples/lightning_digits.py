"""Train with Lightning and data pruning at r = 0.5 on scikit-learn's digits.

    python examples/lightning_digits.py        # one process
    python examples/lightning_digits.py 2      # two, with DDP

A callback plans the epochs and reads the scores. Three things differ from other Lightning scripts: the
callback, its sampler in the training loader, and its weights in the loss. Prints how many examples each
epoch trains on and the test accuracy. Saves the scores to lightning_digits.npz (sadp-dist stats --store
lightning_digits.npz).
"""

import sys

import lightning
import sadp_dist
import torch
from sadp_dist.integrations.lightning import SpikeAwarePruning
from sklearn.datasets import load_digits
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

images, labels = (torch.as_tensor(array) for array in load_digits(return_X_y=True))
images = images.float().view(-1, 1, 8, 8) / 16
train_set = TensorDataset(images[:1400], labels[:1400], torch.arange(1400))
test_set = TensorDataset(images[1400:], labels[1400:])
processes = int(sys.argv[1]) if len(sys.argv) > 1 else 1
config = sadp_dist.PruningConfig(ratio=0.5, max_ratio=0.7, min_probability=0.3, epochs=10)
pruning = SpikeAwarePruning(config, dataset_size=1400)


class Digits(lightning.LightningModule):
    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(
            *(layer.Conv2d(1, 32, 3, padding=1), layer.BatchNorm2d(32), neuron.LIFNode(step_mode="m")),
            *(
                layer.Conv2d(32, 64, 3, stride=2, padding=1),
                layer.BatchNorm2d(64),
                neuron.LIFNode(step_mode="m"),
            ),
            *(layer.Flatten(), layer.Linear(64 * 4 * 4, 10)),
        )
        functional.set_step_mode(self.network, "m")

    def forward(self, x):
        functional.reset_net(self.network)
        return self.network(x.expand(4, *x.shape)).mean(0)  # the image at each of 4 time steps

    def train_dataloader(self):
        return DataLoader(train_set, batch_sampler=pruning.batch_sampler(50 // processes))

    def training_step(self, batch, _):
        x, y, index = batch
        losses = cross_entropy(self(x), y, reduction="none")
        return sadp_dist.weighted_mean(losses, pruning.weights(index))

    def val_dataloader(self):
        return DataLoader(test_set, batch_size=397)

    def validation_step(self, batch, _):
        x, y = batch
        hits = (self(x).argmax(1) == y).float()
        trained_on = pruning.shard.drawn
        self.print(
            f"epoch {self.current_epoch + 1:>2}: trained on {trained_on}, test accuracy {hits.mean():.2%}"
        )

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=2e-3)


lightning.seed_everything(0)
trainer = lightning.Trainer(
    max_epochs=10,
    devices=processes,
    callbacks=[pruning],
    use_distributed_sampler=False,  # it would split each rank's shard again
    num_sanity_val_steps=0,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(Digits())
pruning.store.save("lightning_digits.npz")
