#!/bin/sh
# A network that torch.ao.pruning sparsifies is saved without its masks, and its own state dict does not load back.
#
# Guess before running it: the state dict of a network under a sparsifier of torch.ao.pruning has the dense weights
# (`parametrizations.weight.original`) and the masks beside them (`parametrizations.weight.0.mask`), as
# torch.nn.utils.prune keeps `weight_orig` and `weight_mask`.
#
# What torch 2.14.1 does: the mask is a buffer, but it is left out of the state dict, which holds the dense
# weights alone. Of 64 weights the network applies 48 zeros; of those in its state dict none is zero. Whoever counts or
# profiles the file measures a dense network. Loading asks for the mask that saving left out, so the state dict does
# not load into the same network prepared in the same way, strictly. The masks are in the sparsifier's state dict only.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet torch==2.14.1 numpy
cat > run.py <<'EOF'
import torch
from torch import nn
from torch.ao.pruning import WeightNormSparsifier


def prepared():
    net = nn.Sequential(nn.Linear(8, 8))
    sparsifier = WeightNormSparsifier(sparsity_level=0.75, sparse_block_shape=(1, 1), zeros_per_block=1)
    sparsifier.prepare(net, [{"tensor_fqn": "0.weight"}])
    return net, sparsifier


torch.manual_seed(0)
net, sparsifier = prepared()
sparsifier.step()
state = net.state_dict()
print("torch", torch.__version__)
print("buffers:", sorted(name for name, _ in net.named_buffers()))
print("state dict:", sorted(state))
print("zeros applied:", int((net[0].weight == 0).sum()))
print("zeros saved:", int((state["0.parametrizations.weight.original"] == 0).sum()))
try:
    prepared()[0].load_state_dict(state)
    print("loaded back: yes")
except RuntimeError as error:
    print("loaded back: no,", str(error).split("\n")[1].strip())
print("the sparsifier's state has:", sorted(sparsifier.state_dict()["state"]["0.weight"]))
EOF
venv/bin/python -W ignore run.py | tee found.txt
cat > expected.txt <<'EOF'
buffers: ['0.parametrizations.weight.0.mask']
state dict: ['0.bias', '0.parametrizations.weight.original']
zeros applied: 48
zeros saved: 0
loaded back: no, Missing key(s) in state_dict: "0.parametrizations.weight.0.mask".
the sparsifier's state has: ['mask']
EOF
tail -n +2 found.txt | diff expected.txt - && echo "as it was"
