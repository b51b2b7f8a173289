"""Train SEW-ResNet34 on ImageNet with FFCV: one time step as in the SADP paper (Table I), r = 0.35.

    sadp-dist beton imagenet train.beton --split train --max-side 500
    sadp-dist beton imagenet val.beton --split val --max-side 500
    torchrun --nproc-per-node 8 examples/ffcv_imagenet.py train.beton val.beton

Prints how many examples each epoch trains on and the test accuracy. Saves the scores to ffcv_imagenet.npz.
FFCV crops the images at random. For a small test, use the digits of digits_images.py:

    python examples/ffcv_imagenet.py train.beton test.beton --network small_cnn --image-size 16 --epochs 10 \\
      --batch-size 64 --learning-rate 0.1

configs/imagenet-sew-resnet34.yaml is the complete recipe, with a second phase of four time steps and
checkpoints.
"""

import argparse
import math
import os

import sadp_dist
import torch
import torch.distributed as dist
from sadp_dist.loading import FFCVLoader, PruningSampler, SequentialShard, beton_labels
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

parser = argparse.ArgumentParser()
parser.add_argument("train")
parser.add_argument("test")
parser.add_argument("--network", default="sew_resnet34")
parser.add_argument("--image-size", type=int, default=224)
parser.add_argument("--epochs", type=int, default=100)
parser.add_argument("--batch-size", type=int, default=512, help="over all ranks")
parser.add_argument("--learning-rate", type=float, default=0.25)
parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)) // 2)
options = parser.parse_args()

ranks = int(os.environ.get("WORLD_SIZE", 1))
cuda = torch.cuda.is_available()
device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if cuda else torch.device("cpu")
if ranks > 1:
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo")

torch.manual_seed(0)
labels, batch_size = beton_labels(options.train), options.batch_size // ranks
neuron = sadp_dist.snn.NeuronConfig(decay=0.2)
network = sadp_dist.snn.build_network(
    options.network, int(labels.max()) + 1, options.image_size, time_steps=1, neuron=neuron
).to(device)
model = DistributedDataParallel(network) if ranks > 1 else network
optimizer = torch.optim.SGD(network.parameters(), options.learning_rate, momentum=0.9, weight_decay=1e-5)

pruning = sadp_dist.PruningConfig(ratio=0.35, max_ratio=0.55, min_probability=0.25, epochs=options.epochs)
store = sadp_dist.connect("memory:", "imagenet", len(labels), pruning)
scorer = sadp_dist.scoring.SpikeAwareScorer(network)
sampler = PruningSampler(store, batch_size)
test_sampler = SequentialShard(len(beton_labels(options.test)), batch_size)
reading = {"image_size": options.image_size, "num_workers": max(options.workers, 1), "device": device}
loader = FFCVLoader(options.train, sampler, **reading)
test_loader = FFCVLoader(options.test, test_sampler, **reading)


def logits(model, x):
    return model((x.float() - 118) / 58)[0]  # [T, B, classes], T = 1


for epoch in range(options.epochs):
    sampler.set_epoch(epoch)
    for group in optimizer.param_groups:
        group["lr"] = options.learning_rate * (1 + math.cos(math.pi * epoch / options.epochs)) / 2
    for x, y, index, weights in loader:
        with scorer:
            losses = cross_entropy(logits(model, x), y, reduction="none")
            loss = sadp_dist.weighted_mean(losses, weights)
            loss.backward()
        store.push(index, scorer.scores(weights / len(index)), epoch=epoch, valid=weights > 0)
        optimizer.step()
        optimizer.zero_grad()
    network.eval()
    with torch.no_grad():
        hits = sum((logits(network, x).argmax(1) == y).sum() for x, y, _, _ in test_loader)
    network.train()
    if ranks > 1:
        dist.all_reduce(hits)
    if sampler.rank == 0:
        accuracy = int(hits) / len(beton_labels(options.test))
        print(
            f"epoch {epoch + 1:>3}: trained on {sampler.shard.drawn}, test accuracy {accuracy:.2%}",
            flush=True,
        )
store.save("ffcv_imagenet.npz")
if ranks > 1:
    dist.destroy_process_group()
