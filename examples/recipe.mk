# What the recipes of all papers share. A paper's Makefile sets PAPER and TARGETS (its figures and tables), includes
# this file, and says how networks and measurements are made; `$(draw)` then makes OUT/TARGET.json, .md, .png, .pdf.
#   make fig2                          one figure, built-in images, two cores, a minute or two
#   make -j2                           all of them
#   make SCALE=small DATASET=npz:FILE  CIFAR-10 on a CPU, under an hour a figure
#   make SCALE=paper                   the paper's own settings, for a GPU
# Files are make's dependencies: a killed make goes on where it stopped, a run where it was last saved.

SCALE ?= demo
ifeq ($(filter $(SCALE),demo small paper),)
  $(error SCALE is $(SCALE): expected demo, small or paper)
endif
ifeq ($(SCALE),demo)
  DATASET ?= leaves
else
  DATASET ?= cifar10
endif
LCSTOOL ?= lcstool
PYTHON  ?= python3
EXAMPLES := $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST))))
OUT ?= $(EXAMPLES)/out/$(SCALE)/$(PAPER)

# Bind to one core: `make -j2` runs two stages side by side, which is faster than each on two cores.
export OMP_NUM_THREADS ?= 1

.DELETE_ON_ERROR:
.PHONY: all clean print-targets $(TARGETS)
all: $(TARGETS)
$(TARGETS): %: $(OUT)/%.json

$(OUT):
	mkdir -p $@
clean:
	rm -rf $(OUT)
print-targets:
	@echo $(TARGETS)

# The first prerequisite is the Python file that draws, the others are what it reads; `$(OUT)/fig2.json` calls its
# function fig2.
draw = PYTHONPATH=$(EXAMPLES) $(PYTHON) $< $@ --scale $(SCALE) --dataset $(DATASET) $(filter-out %.py %.mk $(OUT),$^)

# What a stage prints, whole or not at all: $(LCSTOOL) energy ... --json $(into)
into = >$@.part && mv $@.part $@

comma := ,
empty :=
space := $(empty) $(empty)
# 0 1 2 -> 0,1,2
commas = $(subst $(space),$(comma),$(strip $(1)))
