# `make demo` runs the main job, `make test` the tests. Each makes .venv when it is missing and installs
# again only when pyproject.toml or constraints.txt changed. `make install TORCH=cpu` comes first where there
# is no NVIDIA GPU: torch from PyPI brings 6.4 GB of CUDA.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint format bench benchmark-alps benchmark-everest benchmark-zanskar install clean qgis-plugin test-qgis
install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	$(if $(filter cpu,$(TORCH)),$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps \
		--index-url https://download.pytorch.org/whl/cpu torch)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable . --group test --group lint
	touch $@

demo: $(STAMP)
	$(BIN)/glacierseg demo

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 -m "not qgis" --ignore tests/predict/test_int8.py
# nncf changes torch for the process that imports it, so its tests have one to themselves.
	$(BIN)/python -m pytest tests/predict/test_int8.py

# QGIS opens every kind of project and runs each algorithm of the plug-in. Needs QGIS and its Python (Debian: qgis
# python3-qgis); skipped elsewhere.
test-qgis: $(STAMP)
	$(BIN)/python -m pytest -m qgis tests/qgis

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# dist/glacierseg-qgis.zip, for Plugins > Manage and Install Plugins > Install from ZIP.
qgis-plugin: $(STAMP)
	PYTHONPATH=qgis $(BIN)/python -m packing.build dist/glacierseg-qgis.zip

bench: $(STAMP)
	$(BIN)/python benchmarks/run_all.py

# make benchmark-alps DATA=../shared/data/alps_sentinel2 [OUT=runs/alps] [EPOCHS=2] [JOBS=2] [OPTIONS="--limit 12"]
benchmark-alps benchmark-everest benchmark-zanskar: $(STAMP)
	@test -n "$(DATA)" || { echo "give the folder of the data set: make $@ DATA=..." >&2; exit 2; }
	$(BIN)/python -m benchmarks.$(@:benchmark-%=%).recipe $(DATA) --jobs $(or $(JOBS),2) \
		$(if $(OUT),--out $(OUT)) $(if $(EPOCHS),--epochs $(EPOCHS)) $(OPTIONS)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
