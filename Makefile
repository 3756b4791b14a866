# make, and Python 3.11 or 3.12, are all that is needed: every target first sets up .venv, once.
PROFILE = published
NAME =
ARGS =
PYTHON ?=

PROFILES := published digits
CHAPTERS := $(patsubst book/%.ipynb,%,$(wildcard book/*.ipynb))
RUN := .venv/bin/python
PEERS := .venv-bench/bin/python
CHECK := import sys, venv, ensurepip; sys.exit(sys.version_info[:2] not in [(3, 11), (3, 12)])
TRY = $(if $(PYTHON),"$(PYTHON)",python3.12 python3.11 python3)
FOUND = $(shell for p in $(TRY); do "$$p" -c '$(CHECK)' >/dev/null 2>&1 && echo "$$p" && break; done)
PY = $(or $(FOUND),$(error Python 3.11 or 3.12 with its venv module is needed; tried $(TRY); PYTHON= names another))

# chapters run in book/: a folder that is named from here must be found from there
define from_here
ifneq ($$(filter-out /% ~%,$$(firstword $$($(1)))),)
override export $(1) := $$(CURDIR)/$$($(1))
endif
endef
$(eval $(call from_here,SIMADV_STORE))
$(eval $(call from_here,SIMADV_DATA))

# what is asked for is checked before anything is installed or run
ifneq ($(words $(PROFILE)) $(filter-out $(PROFILES),$(PROFILE)),1 )
$(error PROFILE = '$(PROFILE)' is unknown; allowed: $(PROFILES))
endif
ifneq ($(filter chapter,$(MAKECMDGOALS)),)
ifneq ($(words $(NAME)) $(filter-out $(CHAPTERS),$(NAME)),1 )
$(error NAME = '$(NAME)' is no chapter; allowed: $(CHAPTERS))
endif
endif

.PHONY: help book chapter test verify bench peers refresh env clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' Makefile

book: .venv/.installed ## execute every chapter, build _build/html; PROFILE=digits trains all of it, in minutes
	$(RUN) book/build.py --profile $(PROFILE)

chapter: .venv/.installed ## rerun one: NAME=06_evaluation ARGS="-p dataset digits -p epochs 2"
	@mkdir -p _build/chapters
	$(RUN) book/chapter.py --cwd book -k python3 $(ARGS) book/$(NAME).ipynb _build/chapters/$(NAME).ipynb

test: .venv/.installed ## run the tests
	$(RUN) -m pytest -n 2 --dist loadfile

verify: .venv/.installed ## measure every published net again and compare with its record (needs the data)
	$(RUN) -m simadv verify --device cpu

bench: .venv/.installed .venv-bench/.installed ## measure the engine beside its peers: ARGS="--only attacks --alone"
	$(RUN) -m bench $(ARGS)

peers: .venv-bench/.installed ## set up .venv-bench alone: other libraries, for make bench and for AutoAttack

refresh: .venv/.installed ## execute the chapters and write them back into book/, ready to commit
	$(RUN) book/build.py --refresh

env: .venv/.installed ## set up .venv alone

clean: ## remove what was built; .venv and runs stay
	rm -rf _build .pytest_cache .hypothesis .ruff_cache

# .installing, which holds make's number while it works, turns into .installed at the very end: an install that was cut
# short starts afresh, and one that is under way is left alone
begin = @if kill -0 "$$(cat $(1)/.installing 2>/dev/null)" 2>/dev/null; \
	then echo "$(1) is being set up by another make: wait for it (or remove $(1)/.installing)"; exit 1; fi; \
	if [ -e $(1)/.installing ]; then rm -rf $(1); fi; mkdir -p $(1) && echo $$PPID > $(1)/.installing

.venv/.installed: constraints.txt pyproject.toml
	$(call begin,.venv)
	[ -x $(RUN) ] || "$(PY)" -m venv .venv
	$(RUN) -m pip install -c constraints.txt -e ".[book,test]"
	@mv .venv/.installing $@

# torchattacks asks for a requests of 2021 and CleverHans for TensorFlow; neither needs them for what is measured
.venv-bench/.installed: bench/constraints.txt
	$(call begin,.venv-bench)
	[ -x $(PEERS) ] || "$(PY)" -m venv .venv-bench
	$(PEERS) -m pip install -c bench/constraints.txt torch safetensors filelock tqdm packaging foolbox adversarial-robustness-toolbox
	$(PEERS) -m pip install -c bench/constraints.txt --no-deps torchattacks cleverhans
	@mv .venv-bench/.installing $@
