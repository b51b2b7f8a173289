"""Train a text classifier with Hugging Face's Trainer and data pruning at r = 0.5.

    python examples/huggingface_text.py                            # one process
    torchrun --nproc-per-node 2 examples/huggingface_text.py       # two, with DDP

The texts are paragraphs of SciPy's documentation, read from the source of the SciPy that is installed. The
label is the part of SciPy that a paragraph documents. The model is a small BERT without spikes, trained from
scratch. Prints how many examples each epoch trains on and the test accuracy. Saves the scores to
huggingface_text.npz (sadp-dist stats --store huggingface_text.npz).
"""

import ast
import os
import re
from importlib.util import find_spec
from pathlib import Path

import torch
from sadp_dist.integrations.huggingface import PrunedTrainer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedTokenizerFast,
    TrainerCallback,
    TrainingArguments,
)

TOPICS = ["interpolate", "linalg", "ndimage", "spatial"]


def paragraphs(topic):
    """Return the paragraphs of the docstrings of a part of SciPy that have at least eight words."""
    found = {}
    for file in sorted(Path(find_spec("scipy").origin).parent.joinpath(topic).glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                for text in re.split(r"\n\s*\n", ast.get_docstring(node) or ""):
                    if len(re.findall("[a-zA-Z]+", text)) >= 8:
                        found[text] = None  # without repetitions
    return list(found)[:500]


texts = [(text, label) for label, topic in enumerate(TOPICS) for text in paragraphs(topic)]
words = Tokenizer(models.WordLevel(unk_token="[UNK]"))
words.normalizer = normalizers.Lowercase()
words.pre_tokenizer = pre_tokenizers.Whitespace()
words.train_from_iterator(
    (text for text, _ in texts),
    trainers.WordLevelTrainer(vocab_size=2000, special_tokens=["[PAD]", "[UNK]"], show_progress=False),
)
tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
rows = [{**tokenizer(text, truncation=True, max_length=32), "labels": label} for text, label in texts]
test_set = rows[::5]
train_set = [row for number, row in enumerate(rows) if number % 5]


class Report(TrainerCallback):
    def on_evaluate(self, args, state, control, metrics, **_):
        if state.is_world_process_zero:
            trained_on, accuracy = trainer.sampler.shard.drawn, metrics["eval_accuracy"]
            print(f"epoch {state.epoch:>2.0f}: trained on {trained_on}, test accuracy {accuracy:.2%}")


model = BertForSequenceClassification(
    BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=128,
        max_position_embeddings=32,
        num_labels=len(TOPICS),
    )
)
processes = int(os.environ.get("WORLD_SIZE", "1"))
trainer = PrunedTrainer(
    model,
    TrainingArguments(
        "huggingface_text",
        num_train_epochs=10,
        per_device_train_batch_size=32 // processes,
        per_device_eval_batch_size=128,
        learning_rate=2e-3,
        eval_strategy="epoch",
        save_strategy="no",
        logging_strategy="no",
        report_to="none",
        use_cpu=not torch.cuda.is_available(),  # or torchrun's processes would not be one job
        disable_tqdm=True,
    ),
    train_dataset=train_set,
    eval_dataset=test_set,
    processing_class=tokenizer,
    compute_metrics=lambda test: {"accuracy": (test.predictions.argmax(1) == test.label_ids).mean()},
    callbacks=[Report()],
    pruning={"ratio": 0.5},
)
trainer.train()
trainer.store.save("huggingface_text.npz")
