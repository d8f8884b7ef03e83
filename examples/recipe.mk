# What the Makefiles of all papers share. The Makefile of a paper sets PAPER and TARGETS (its figures and tables), includes
# this file, and has the rules for networks and measurements. `$(draw)` makes OUT/TARGET.json, .md, .png and .pdf.
#   make fig2                          one figure, built-in images, two cores, a minute or two
#   make -j2                           all of them
#   make SCALE=small DATASET=npz:FILE  CIFAR-10 on a CPU, under an hour a figure
#   make SCALE=paper                   the paper's own settings, for a GPU
#   make RUNS=/some/DIR ...            finished runs from there instead of new ones
# Every result is a file that make knows. So after a kill, make goes on where it stopped, and a training run from its
# last saved state.
# RUNS=DIR: what lies in DIR under the name that a network, or the metrics beside it, has here (cnn.safetensors,
# cnn.metrics.jsonl) is linked and not made, so runs of another machine fill the same figures and tables. Where a figure
# needs metrics only, a file of metrics is enough. `make -n SCALE=paper table1` prints the names.

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

# One core for each stage: `make -j2` runs two stages at a time, which is faster than one after another on two cores.
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

# The first prerequisite of a figure is the Python file that draws it, the others are the files to read. For
# `$(OUT)/fig2.json` the function fig2 in that file is called.
draw = PYTHONPATH=$(EXAMPLES) $(PYTHON) $< $@ --scale $(SCALE) --dataset $(DATASET) $(filter-out %.py %.mk $(OUT),$^)

# Write what a stage prints into the target, but only if the stage succeeds: $(LCSTOOL) energy ... --json $(into)
into = >$@.part && mv $@.part $@

comma := ,
empty :=
space := $(empty) $(empty)
# 0 1 2 -> 0,1,2
commas = $(subst $(space),$(comma),$(strip $(1)))

# A link to each finished run: an explicit rule, so it comes before the pattern rules that would make it.
define taken
$(OUT)/$(notdir $(1)): $(1) | $(OUT)
	ln -sf $(abspath $(1)) $$@
endef
$(if $(RUNS),$(foreach run,$(wildcard $(RUNS)/*.safetensors $(RUNS)/*.metrics.jsonl),$(eval $(call taken,$(run)))))
