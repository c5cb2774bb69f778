# Two commands on a fresh machine: `make demo` and `make test`. Nothing else is needed but
# Python 3.11 or newer and, for the viewer tests on Linux, what .ci/system-packages names.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
SAMPLES = src/napari_pathreason/sample_data

# `make embedded`: from labelled pictures to the weights that ship, their card and all tables, step by
# step as in demonstrator/README.md. About 15 hours on two cores. Training goes on where it was
# cut, evaluation begins anew; delete the folders data/mini*, data/taught, data/large, data/windows,
# data/regions and runs/mini* to begin from the pictures.
DATA ?= ../shared/data
BUDGETS ?= 4,16,64,256
PER_TOPIC ?= 100
MINI = data/mini
TAUGHT = data/taught/nuclei_taught/index.csv
MORE = data/mini-wide
LARGE = data/large
WINDOWS = data/windows
REGIONS = data/regions
LEARNED = runs/mini-regions/allocator/model
ONE = runs/mini-counts
RUN = runs/mini-windows
MODEL = $(RUN)/model
EVALUATE = $(BIN)/pathreason evaluate --data $(MINI)/test.jsonl --per-topic $(PER_TOPIC) --together 16 \
	--goals demonstrator/goals.yaml --groups $(DATA)/nuclei/index.csv organ
TABLES = --budgets 64 --baseline --policies native,fixed,random,cascade,oracle,allocator \
	--json docs/results.json --markdown docs/results.md --figure docs/images/pareto.png \
	--card $(EMBEDDED)/README.md
EMBEDDED = src/napari_pathreason/models/embedded

.PHONY: demo test test-slow acceptance faults floors fuzz lint env system napari bench embedded results large-regions reproduce clean

demo: $(READY)
	$(BIN)/python docs/demo.py

# A crash of Python ends the run: a worker that takes its place would begin the same file again.
test: lint system
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart 0

# What takes longer: the docks and whole slides end to end, the tutorial, two processes.
test-slow: $(READY) system
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -n 2 --dist loadfile --max-worker-restart 0

# The embedded model behind a real server, `transformers serve` on loopback; no part of .ci/run.
acceptance: $(READY)
	$(BIN)/python -m pip install --quiet --group acceptance
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m acceptance -n 0 -s tests/acceptance

# Damaged copies of every kind of file: no error but the project's own, no hang, no memory without
# end, no other pixels than another decoder's. PATHREASON_MUTATIONS=300 of each.
fuzz: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m fuzz -n 2 tests/fuzz

# Every kind of fault at every file event of each command in tests/faults/_commands.py: thousands of
# trials, each below a second of processor time.
faults: $(READY)
	PATHREASON_FAULTS=all $(BIN)/python -m pytest -m slow -n 2 -rP tests/faults --timeout 0

# The fast tests with the lowest versions that pyproject.toml allows. torch is the build at hand: the
# lowest one may not be had for processors alone. What needs a package of the group dev is left out.
FLOORS ?= .venv-floors
LOWEST = $(BIN)/uv pip --quiet
floors: $(READY) system
	$(BIN)/python -m pip install --quiet --group floors
	test -x $(FLOORS)/bin/python || $(PYTHON) -m venv $(FLOORS)
	$(BIN)/python -c 'import torch; print("torch==" + torch.__version__)' > $(FLOORS)/torch.txt
	$(LOWEST) compile pyproject.toml --extra napari --resolution lowest-direct --no-annotate \
		--constraint $(FLOORS)/torch.txt $(addprefix --find-links ,$(PIP_FIND_LINKS)) \
		--output-file $(FLOORS)/lowest.txt
	$(LOWEST) install --python $(FLOORS)/bin/python --requirement $(FLOORS)/lowest.txt \
		$(addprefix --find-links ,$(PIP_FIND_LINKS))
	$(LOWEST) install --python $(FLOORS)/bin/python --constraint $(FLOORS)/lowest.txt --group test \
		$(addprefix --find-links ,$(PIP_FIND_LINKS))
	$(LOWEST) install --python $(FLOORS)/bin/python --no-deps --editable .
	OMP_NUM_THREADS=1 $(FLOORS)/bin/python -m pytest -n 2 --dist loadfile --max-worker-restart 0 \
		--ignore tests/models/test_openvino_encoder.py --ignore tests/training/grpo/test_trl.py

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

napari: $(READY)
	$(BIN)/napari $(SAMPLES)/lymph-node.ome.tif --plugin napari-pathreason --with napari-pathreason Ask

bench: $(READY)
	$(BIN)/python benchmarks/slides.py
	$(BIN)/python benchmarks/ask.py
	$(BIN)/python benchmarks/encoders.py
	$(BIN)/python benchmarks/large_request.py
	$(BIN)/python benchmarks/dock.py
	$(BIN)/python benchmarks/slide_run.py
	$(BIN)/python benchmarks/slide_dock.py
	$(BIN)/python benchmarks/slide_cancel.py
	$(BIN)/python benchmarks/overlay.py
	$(BIN)/python benchmarks/exports.py
	$(BIN)/python benchmarks/grpo.py
	$(BIN)/python benchmarks/server.py

TRAIN = $(BIN)/pathreason train
RECIPES = demonstrator/recipes
# A recipe whose supervised part took more than 45 minutes is trained in two commands: a run that
# ends after half of its steps goes on as if it had not been cut.
define halves
$(TRAIN) sft --recipe $(RECIPES)/$(1).yaml --set sft.stop_after=$(2)
	$(TRAIN) sft --recipe $(RECIPES)/$(1).yaml
endef

embedded: $(READY) $(MINI)/test.jsonl $(MORE)/train.jsonl $(WINDOWS)/train.jsonl
	$(BIN)/python -m demonstrator.fetch build/dinov2s.pt
	$(BIN)/python -m demonstrator.new_model $(MINI)/train.jsonl --dinov2 build/dinov2s.pt -o runs/mini-start
	$(call halves,start,1600)
	$(call halves,further,1500)
	$(TRAIN) bilateral --recipe $(RECIPES)/further.yaml
	$(call halves,looking,1050)
	$(TRAIN) bilateral --recipe $(RECIPES)/looking.yaml
	$(call halves,boxes,925)
	$(TRAIN) bilateral --recipe $(RECIPES)/boxes.yaml
	$(TRAIN) sft --recipe $(RECIPES)/places.yaml
	$(call halves,reading,900)
	$(TRAIN) sft --recipe $(RECIPES)/views.yaml
	$(TRAIN) sft --recipe $(RECIPES)/taught.yaml
	$(TRAIN) sft --recipe $(RECIPES)/wide.yaml
	$(TRAIN) sft --recipe $(RECIPES)/sharp.yaml
	$(TRAIN) bilateral --recipe $(RECIPES)/counts.yaml
	$(call halves,windows,700)
	$(BIN)/pathreason calibrate $(MODEL) --data $(WINDOWS)/val.jsonl --train $(WINDOWS)/train.jsonl \
		--recipe $(RECIPES)/windows.yaml --unlike $(SAMPLES)/CMU-1-Small-Region.svs \
		--regions $(LARGE)/as_is/val.jsonl
	cp $(ONE)/bilateral/allocator.* $(MODEL)/
	$(EVALUATE) $(MODEL) $(TABLES) --stage windows --items $(RUN)/items.jsonl
	gzip -9nc $(RUN)/items.jsonl > docs/results-items.jsonl.gz
	cp $(MODEL)/* $(EMBEDDED)/
	cp $(RUN)/run.json $(EMBEDDED)/

# `make results`: the shipped model asked again, and all tables anew. A run that was cut goes on with
# KNOWN=runs/results/cut.jsonl, a copy of what it wrote; docs/results-items.jsonl.gz asks nothing.
KNOWN ?=
results: $(READY) $(MINI)/test.jsonl
	@mkdir -p runs/results
	OMP_NUM_THREADS=1 $(EVALUATE) embedded $(TABLES) --stage windows \
		--items runs/results/items.jsonl $(if $(KNOWN),--known $(KNOWN))
	gzip -9nc runs/results/items.jsonl > docs/results-items.jsonl.gz

# `make large-regions`: ways to read large regions beside one another, by the shipped model. It goes
# on where it was.
large-regions: $(READY) $(LARGE)/blended/test.jsonl $(LEARNED)/windows_allocator.safetensors
	@mkdir -p runs/large
	OMP_NUM_THREADS=1 $(BIN)/python -m demonstrator.large_regions_table embedded --per-topic 8 \
		--allocator $(LEARNED) \
		--data $(LARGE)/as_is/test.jsonl $(LARGE)/blended/test.jsonl \
		--ways one_view@64 one_view@256 uniform@x8 uniform@x16 uniform@x64 random@x8 surprise@x8 \
		again@balanced table@low table@balanced learned@balanced oracle@x8 native_windows \
		--pairs table@balanced:one_view@256 table@balanced:uniform@x16 table@balanced:again@balanced \
		surprise@x8:random@x8 again@balanced:uniform@x64 uniform@x64:uniform@x16 \
		table@balanced:native_windows again@balanced:native_windows uniform@x64:native_windows \
		learned@balanced:one_view@256 learned@balanced:uniform@x8 learned@balanced:uniform@x64 \
		learned@balanced:surprise@x8 learned@balanced:again@balanced learned@balanced:table@low \
		learned@balanced:table@balanced learned@balanced:native_windows \
		--items runs/large/items.jsonl --memory runs/large/replies.sqlite \
		--markdown docs/large_regions.md --json docs/large_regions.json \
		--figure docs/images/large_regions.png --record docs/large_regions-items.jsonl.gz

# What `learned` asks there: an allocator of windows of the weights that ship. It did not earn its
# place among them (docs/large_regions.md).
$(LEARNED)/windows_allocator.safetensors: $(REGIONS)/val.jsonl
	$(TRAIN) allocator --recipe $(RECIPES)/regions.yaml

# `make reproduce`: a small run of GRPO, allocator and evaluation; fails where the order of the
# rows is not the one in docs/results.md.
reproduce: $(READY) $(MINI)/test.jsonl
	$(TRAIN) bilateral --recipe $(RECIPES)/reproduce.yaml
	$(BIN)/pathreason evaluate embedded --data $(MINI)/test.jsonl --budgets 16,64,256 \
		--per-topic 15 --together 16 --no-blank --stage embedded --json runs/reproduce/embedded.json
	$(BIN)/pathreason evaluate runs/reproduce/bilateral --data $(MINI)/test.jsonl \
		--budgets 16,64,256 --per-topic 15 --together 16 --stage reproduced \
		--earlier runs/reproduce/embedded.json \
		--policies native,fixed,random,cascade,oracle,allocator --json runs/reproduce/results.json
	$(BIN)/python -m demonstrator.ordering runs/reproduce/results.json

$(MINI)/test.jsonl: | $(READY)
	$(BIN)/python -m demonstrator.convert $(DATA) -o $(MINI)

# The regions of `train` come three times over, those of `val` to learn an allocator from once and
# by another seed: on those of the seed 0 it is decided whether it ships.
$(LARGE)/blended/test.jsonl: | $(READY)
	$(BIN)/python -m demonstrator.large_regions $(DATA) -o $(LARGE) --splits val test
	$(BIN)/python -m demonstrator.large_regions $(DATA) -o $(LARGE) --splits train --times 3

$(WINDOWS)/train.jsonl: $(MINI)/test.jsonl | $(LARGE)/blended/test.jsonl
	for split in val train; do \
		$(BIN)/python -m demonstrator.windows $(LARGE)/as_is/$$split.jsonl \
			$(LARGE)/blended/$$split.jsonl --beside $(MINI)/$$split.jsonl \
			-o $(WINDOWS)/$$split.jsonl --split $$split || exit; done

$(REGIONS)/val.jsonl: | $(READY)
	$(BIN)/python -m demonstrator.large_regions $(DATA) -o $(REGIONS) --splits val --seed 2 \
		--sides 2016 2520
	$(BIN)/python -m demonstrator.windows -o $@ --split val \
		--beside $(REGIONS)/as_is/val.jsonl $(REGIONS)/blended/val.jsonl

$(TAUGHT): | $(READY)
	$(BIN)/python -m demonstrator.teacher.nuclei $(DATA) data/taught

$(MORE)/train.jsonl: | $(TAUGHT)
	$(BIN)/python -m demonstrator.convert $(DATA) data/taught -o $(MORE) --times 4

env: $(READY)

# the stamp is older than pyproject.toml where a dependency was changed since
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.12" \
		if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV); this takes a few minutes the first time"
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[napari]" --group dev
	@touch $@

system:
	@.ci/system-packages

clean:
	rm -rf $(VENV) demo build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache \
		.hypothesis
