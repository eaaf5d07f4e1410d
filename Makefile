# Makefile of Puna: everything is built below build/$(MODE). `make help` lists the targets.
MODE ?= release
CC ?= cc
B := build/$(MODE)
PREFIX ?= /usr/local

ARCH := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine 2>/dev/null)))
PACKAGES := jansson libedit libevent_core libevent_openssl openssl sqlite3 libxxhash libseccomp
OPT_release := -O3
OPT_debug := -O0
OPT_asan := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all
OPT_tsan := -O1 -fsanitize=thread
OPT_fuzz := -O1 -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
OPT_coverage := -O1 -fprofile-instr-generate -fcoverage-mapping
OPT_cross := -O2

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 -Wvla -Werror
PKG_CFLAGS = $(shell pkg-config --cflags $(PACKAGES))
PKG_LIBS = $(shell pkg-config --libs $(PACKAGES))
# -ffp-contract=off: a fused multiply-add is written where one is meant (same bytes everywhere).
ALL_CFLAGS = -std=c17 -D_GNU_SOURCE -g -fno-omit-frame-pointer -ffp-contract=off -fno-math-errno -fno-trapping-math \
	$(OPT_$(MODE)) $(WARN) -Isrc -I$(B)/gen $(PKG_CFLAGS) -pthread $(CFLAGS)

# Files named *_avx2.c, *_avxvnni.c, *_avx512.c and *_amx.c hold one instruction set each and exist on
# x86-64 alone, those named *_neon.c and *_i8mm.c on aarch64 (which Apple calls arm64).
X86_SRC := $(wildcard src/*/*_avx2.c src/*/*_avxvnni.c src/*/*_avx512.c src/*/*_amx.c)
ARM_SRC := $(wildcard src/*/*_neon.c src/*/*_i8mm.c)
LIB_SRC := $(filter-out $(X86_SRC) $(ARM_SRC) $(wildcard src/cmd/*.c),$(wildcard src/*/*.c))
CMD_SRC := $(wildcard src/cmd/*.c) src/main.c
# Kernels first: they take longest to compile.
ifeq ($(ARCH),x86_64)
LIB_SRC := $(X86_SRC) $(LIB_SRC)
else ifneq ($(filter aarch64 arm64,$(ARCH)),)
LIB_SRC := $(ARM_SRC) $(LIB_SRC)
endif
LIB_OBJ := $(LIB_SRC:%.c=$(B)/%.o)
CMD_OBJ := $(CMD_SRC:%.c=$(B)/%.o)
UNIT := $(patsubst tests/unit/%.c,$(B)/tests/%,$(wildcard tests/unit/test_*.c))
FUZZ := $(patsubst tests/fuzz/%.c,$(B)/tests/%,$(wildcard tests/fuzz/fuzz_*.c))

.DELETE_ON_ERROR:
.PHONY: all
all: $(B)/puna

$(B)/puna: $(CMD_OBJ) $(B)/libpuna.a
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(PKG_LIBS) -lm

$(B)/libpuna.a: $(LIB_OBJ)
	rm -f $@ && $(AR) rcs $@ $^

AVX2 := -mavx2 -mfma -mf16c
AVXVNNI := $(AVX2) -mavxvnni
AVX512 := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mfma -mf16c -mprefer-vector-width=512
AMX := $(AVX512) -mamx-tile -mamx-int8
# gcc's first scheduler moves the loads of whole blocks up and spills half of them; clang has no such
# option, and no need for it.
NEON := -march=armv8.2-a+dotprod -fno-schedule-insns -Wno-ignored-optimization-argument
I8MM := $(NEON:+dotprod=+dotprod+i8mm)
# Without sanitizers: instrumented, these unrolled kernels take minutes to compile. tests/check runs
# them between guard pages instead. Debuggers get no places of variables between statements: to follow
# them takes gcc half as long as all else.
UNROLLED := -fno-sanitize=all -fno-var-tracking
$(B)/%_avx2.o: ALL_CFLAGS += $(AVX2) $(UNROLLED)
$(B)/%_avxvnni.o: ALL_CFLAGS += $(AVXVNNI) $(UNROLLED)
$(B)/%_avx512.o: ALL_CFLAGS += $(AVX512) $(UNROLLED)
$(B)/%_amx.o: ALL_CFLAGS += $(AMX) $(UNROLLED)
$(B)/%_neon.o: ALL_CFLAGS += $(NEON) $(UNROLLED)
$(B)/%_i8mm.o: ALL_CFLAGS += $(I8MM) $(UNROLLED)
$(B)/src/serve/api_openapi.o: docs/openapi.json
$(B)/src/guard/words.o: src/guard/profanity.txt
$(B)/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# --- tests: one program a file of tests/unit (cmocka), tests/check/*.c (kernel check), tests/fuzz
$(B)/tests/test_%: tests/unit/test_%.c $(B)/libpuna.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< $(B)/libpuna.a $(PKG_LIBS) -lcmocka -lm

$(B)/tests/check: $(wildcard tests/check/*.[ch]) $(B)/libpuna.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $(filter %.c,$^) $(B)/libpuna.a $(PKG_LIBS) -lm

# What the comparisons of tests/oracle talk to, in lines of JSON.
ORACLES := $(patsubst tests/oracle/%.c,$(B)/tests/%,$(wildcard tests/oracle/*.c))
$(ORACLES): $(B)/tests/%: tests/oracle/%.c $(B)/libpuna.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -MMD -MP -o $@ $< $(B)/libpuna.a $(PKG_LIBS) -lm

# What the fault campaign has loaded before the C library: without sanitizers, for programs with and
# without them. Their first calls of malloc come before a thread's variables could be made.
build/release/tests/libfaults.so: tests/soak/faults.c
	@mkdir -p $(@D)
	$(CC) -std=c17 -D_GNU_SOURCE -O2 -g -fno-omit-frame-pointer $(WARN) -fPIC -fno-builtin -ftls-model=initial-exec -shared -o $@ $<

# A fuzz target linked with replay.c runs every file of its corpus once. Targets may include each
# other's headers and the makers of files of tests/unit, and call what is behind the command line.
FUZZ_PARTS := $(B)/cmd.a $(B)/libpuna.a
FUZZ_HEADERS := $(wildcard tests/fuzz/*.h tests/unit/*.h)
$(B)/cmd.a: $(filter-out $(B)/src/main.o,$(CMD_OBJ))
	rm -f $@ && $(AR) rcs $@ $^
$(B)/tests/fuzz_%: tests/fuzz/fuzz_%.c tests/fuzz/replay.c $(FUZZ_PARTS) $(FUZZ_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -Itests/unit $(LDFLAGS) -o $@ $(filter-out %.h,$^) $(PKG_LIBS) -lm

# `make fuzz`: libFuzzer (clang) on FUZZ_TARGETS, FUZZ_JOBS of them at once, FUZZ_SECONDS each; its
# finds go to build/fuzz, its totals to build/fuzz/totals.txt, from where tests/fuzz/totals.py takes
# them to docs/TESTING.md.
FUZZ_TARGETS ?= $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SECONDS ?= 3600
FUZZ_JOBS ?= 1
$(B)/tests/libfuzzer_%: tests/fuzz/fuzz_%.c $(FUZZ_PARTS) $(FUZZ_HEADERS)
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) -Itests/unit $(LDFLAGS) -fsanitize=fuzzer -o $@ $(filter-out %.h,$^) $(PKG_LIBS) -lm

.PHONY: fuzz fuzz-run fuzz-replay fuzz-coverage fuzz-coverage-run
fuzz: ## libFuzzer on every parser, an hour each; FUZZ_TARGETS="gguf http" FUZZ_SECONDS=60 for less
	$(MAKE) CC=clang-14 MODE=fuzz B=build/fuzz fuzz-run
fuzz-run: $(FUZZ_TARGETS:%=$(B)/tests/libfuzzer_%)
	tests/fuzz/run $(B) $(FUZZ_SECONDS) $(FUZZ_JOBS) $(FUZZ_TARGETS)
fuzz-coverage: ## lines of each parser that the corpus of its target runs
	$(MAKE) CC=clang-14 MODE=coverage B=build/coverage fuzz-coverage-run
fuzz-coverage-run: $(FUZZ_TARGETS:%=$(B)/tests/fuzz_%)
	tests/fuzz/coverage $(B) $(FUZZ_TARGETS)
fuzz-replay: $(FUZZ)
	@for t in $(FUZZ:$(B)/tests/fuzz_%=%); do $(B)/tests/fuzz_$$t tests/fuzz/corpus/$$t || exit 1; done

# Random weights for the tests that need a model. The release build's generator makes them for all
# builds, also for those that need an emulator to run; within that build it is a target like any
# other, as a second make would write the same archive at the same time.
ifneq ($(B),build/release)
build/release/gen_gguf: $(wildcard bench/gen*.[ch])
	env -u MAKEFLAGS -u MFLAGS -u MODE -u B -u CC -u LDFLAGS $(MAKE) -s $@
endif
build/tiny.gguf: build/release/gen_gguf
	build/release/gen_gguf --shape tiny --type Q4_K_M -o $@
build/tiny-bf16.gguf: build/release/gen_gguf
	build/release/gen_gguf --shape tiny --type BF16 -o $@
TINY := $(B)/tests/tiny.gguf $(B)/tests/tiny-bf16.gguf
$(TINY): $(B)/tests/%: build/%
	@mkdir -p $(@D)
	cp $< $@

.PHONY: unit check
unit: $(UNIT) $(TINY)
	@for t in $(UNIT); do $$t || exit 1; done
check: $(B)/tests/check
	$(B)/tests/check

# --- bench/gen_gguf: models with random weights and Llama's real shapes
$(B)/gen_gguf: $(wildcard bench/gen_*.c) bench/gen.h $(B)/src/cmd/options.o $(B)/libpuna.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $(filter %.c %.o %.a,$^) $(PKG_LIBS) -lm

# --- bench/mask_speed, schema_masks: what a grammar and a schema cost, see docs/STRUCTURED.md
$(B)/mask_speed $(B)/schema_masks: $(B)/%: bench/%.c $(B)/libpuna.a
	@mkdir -p $(@D)
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(PKG_LIBS) -lm

# --- house: what a person types
PYTHON ?= python3
JOBS := $(shell nproc)
.PHONY: help setup demo run bench test oracle tests asan cross-check
help: ## this list
	@sed -n 's/^\([a-z_][a-z_.-]*\):[^#]*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 30

setup: ## install what building, testing and linting need
	tools/setup test

demo: ## install what is missing, build, bring the default model, answer here and over HTTP
	tools/setup build
	$(MAKE) -s -j$(JOBS) all
	model=$$(tools/fetch-default-model) && \
	$(B)/puna run --stats --system "Act like you are a helpful assistant." -p "Hi there!" "$$model"
	tools/demo-server $(B)/puna

run: all ## a chat with the default model in this terminal
	$(B)/puna run $(MODEL)

bench: all ## speed of the default model (or MODEL=FILE) beside this machine's limits
	$(B)/puna bench $(MODEL)

# Random weights of SHAPE-TYPE, and the peers' programs, lie below build/ too.
BENCH_MODELS ?= 1b-Q4_K_M 1b-Q8_0 8b-Q4_K_M
build/models/%.gguf: $(B)/gen_gguf
	@mkdir -p $(@D)
	$(B)/gen_gguf -s $(firstword $(subst -, ,$*)) -t $(lastword $(subst -, ,$*)) -o $@
.PHONY: bench-peers bench-serve bench-structured
bench-peers: all $(BENCH_MODELS:%=build/models/%.gguf) ## Puna beside llama.cpp, which is built first: 25 minutes
	tools/setup peers
	$(PYTHON) bench/peers.py $(PEERS) $(BENCH_MODELS:%=build/models/%.gguf) "$$(tools/fetch-default-model)"

bench-serve: all ## puna serve beside llama-server, which is built first, with MODEL=FILE or the default model
	tools/setup peers
	$(PYTHON) bench/serve_peers.py $(PEERS) "$(or $(MODEL),$$(tools/fetch-default-model))"

bench-structured: all $(B)/schema_masks $(B)/tests/schema_check build/tiny.gguf ## structured output beside other engines, on the schemas of JSONSCHEMABENCH=FOLDER
	tools/setup peers
	$(PYTHON) bench/structured_peers.py --write $(PEERS) $(JSONSCHEMABENCH)

test: ## the whole suite: both compilers, sanitizers, oracles, other architectures
	tools/setup test
	tools/fetch-default-model
	build/venv/bin/python tests/run

# docs/TESTING.md says what these do.
.PHONY: soak soak-run tsan-api valgrind
SOAK_SECONDS ?= 120
SOAK ?=
soak: ## clients, calls and a machine that fail: SOAK_SECONDS of it for each build, SOAK=WORD for one of its parts
	tools/setup test
	$(MAKE) -s all soak-run
	$(MAKE) -s MODE=asan all soak-run
soak-run: build/release/tests/libfaults.so build/tiny.gguf
	PUNA=$(B)/puna build/venv/bin/python tests/soak/soak.py --seconds $(SOAK_SECONDS) $(SOAK)

# Thread sanitizer: what two threads do to the same memory without a lock ends the server, and the
# test. Two tests are about the size of the server's memory, of which it has several times as much; and
# the sandbox has to be entered by all threads, of which it has one more. It is slow: what is soon
# otherwise may take minutes.
TSAN_TESTS ?= $(filter-out %_sandbox.py,$(wildcard tests/cli/test_serve_*.py))
tsan-api: ## the API's tests with the thread sanitizer, TSAN_TESTS=FILE for some of them
	tools/setup test
	tools/fetch-default-model
	$(MAKE) -s MODE=tsan all build/tsan/tests/tiny.gguf
	TSAN_OPTIONS="halt_on_error=1 exitcode=66" PUNA_SERVE_SANDBOX=off \
	PUNA_TEST_PATIENCE=300 PUNA=build/tsan/puna build/venv/bin/python -m pytest -q -p no:cacheprovider $(TSAN_TESTS) \
	--deselect tests/cli/test_serve_embeddings.py::test_the_numbers_of_all_answers_together_are_bounded \
	--deselect tests/cli/test_serve_limits.py::test_best_of_keeps_no_logprobs_that_nobody_asked_for

valgrind: all build/tiny.gguf ## start, requests and end of a server, with memcheck
	tools/setup test
	build/venv/bin/python tests/soak/memcheck.py

oracle: ## the comparisons that take long or need torch
	tools/setup oracle
	tools/fetch-default-model
	build/venv/bin/python tests/run --oracle

tests: $(UNIT) $(TINY) $(B)/tests/check $(FUZZ) $(ORACLES) $(B)/gen_gguf build/release/tests/libfaults.so ## build every test program

asan: ## the program and all tests with address and undefined-behaviour sanitizers
	$(MAKE) MODE=asan all tests

# Libraries for the other architecture lie where `tools/setup test` put them.
CROSS ?= aarch64
SYSROOT = build/sysroot-$(CROSS)
cross-check: ## everything for aarch64, or with CROSS=powerpc64le for a CPU that has the kernel set `ref` alone
	$(MAKE) MODE=cross B=build/$(CROSS) CC=$(CROSS)-linux-gnu-gcc PKG_CFLAGS="-I$(SYSROOT)/usr/include -I$(SYSROOT)/usr/include/$(CROSS)-linux-gnu" \
	PKG_LIBS="-ljansson -ledit -levent_core -levent_openssl -lssl -lcrypto -lsqlite3 -lxxhash -lseccomp" LDFLAGS="-L$(SYSROOT)/usr/lib/$(CROSS)-linux-gnu \
	-Wl,-rpath-link,$(SYSROOT)/usr/lib/$(CROSS)-linux-gnu:$(SYSROOT)/lib/$(CROSS)-linux-gnu" all tests

.PHONY: lint cppcheck syntax syntax-gcc syntax-clang-14 report
C_FILES := $(wildcard src/*.[ch] src/*/*.[ch] tests/*/*.[ch] bench/*.[ch])
PLAIN_C := $(filter-out $(X86_SRC) $(ARM_SRC) $(if $(filter-out x86_64,$(ARCH)),tests/bare/%),$(filter %.c,$(C_FILES)))
lint: ## warnings of both compilers, format, include directions, banned functions, cppcheck
	clang-format-14 --dry-run -Werror $(C_FILES)
	for check in includes banned sizes text; do $(PYTHON) tools/lint/check_$$check.py || exit 1; done
	mandoc -Tlint -Wwarning docs/puna.1
	$(MAKE) -s -j$(JOBS) --output-sync=target syntax-gcc syntax-clang-14 cppcheck
cppcheck:
	cppcheck --quiet --std=c11 --enable=warning,performance,portability --error-exitcode=1 -j$(JOBS) \
	--suppressions-list=tools/lint/cppcheck.txt -Isrc $(filter-out %/unicode_table.c,$(filter src/%.c,$(C_FILES)))
syntax-gcc syntax-clang-14:
	$(MAKE) -s CC=$(@:syntax-%=%) syntax
SYNTAX_NEON = $(ALL_CFLAGS) $(NEON) -fsyntax-only $(filter %_neon.c,$(ARM_SRC))
SYNTAX_I8MM = $(ALL_CFLAGS) $(I8MM) -fsyntax-only $(filter %_i8mm.c,$(ARM_SRC))
syntax:
	$(CC) $(ALL_CFLAGS) -Itests/unit -fsyntax-only $(PLAIN_C)
ifeq ($(ARCH),x86_64)
	$(if $(filter %_avx2.c,$(X86_SRC)),$(CC) $(ALL_CFLAGS) $(AVX2) -fsyntax-only $(filter %_avx2.c,$(X86_SRC)))
	$(CC) $(ALL_CFLAGS) $(AVXVNNI) -fsyntax-only $(filter %_avxvnni.c,$(X86_SRC))
	$(CC) $(ALL_CFLAGS) $(AVX512) -fsyntax-only $(filter %_avx512.c,$(X86_SRC))
	$(CC) $(ALL_CFLAGS) $(AMX) -fsyntax-only $(filter %_amx.c,$(X86_SRC))
	$(if $(findstring clang,$(CC)),$(CC) --target=aarch64-linux-gnu $(SYNTAX_NEON))
	$(if $(findstring clang,$(CC)),$(CC) --target=aarch64-linux-gnu $(SYNTAX_I8MM))
else ifneq ($(filter aarch64 arm64,$(ARCH)),)
	$(CC) $(SYNTAX_NEON)
	$(CC) $(SYNTAX_I8MM)
endif
report: ## sizes of files and functions
	$(PYTHON) tools/lint/check_sizes.py --report

.PHONY: compile_commands.json install uninstall
compile_commands.json: ## for editors and clang tools
	$(MAKE) -Bn MODE=debug all | tools/compile-commands >$@

INSTALL_DIR := $(DESTDIR)$(PREFIX)
install: all ## into $(PREFIX): program, script that fetches the default model, manual page
	install -D -m 755 $(B)/puna $(INSTALL_DIR)/bin/puna
	install -D -m 755 tools/fetch-default-model $(INSTALL_DIR)/libexec/puna/fetch-default-model
	install -D -m 644 docs/puna.1 $(INSTALL_DIR)/share/man/man1/puna.1

uninstall: ## remove what install put into $(PREFIX); models and history stay
	rm -f $(INSTALL_DIR)/bin/puna $(INSTALL_DIR)/share/man/man1/puna.1
	rm -rf $(INSTALL_DIR)/libexec/puna

.PHONY: clean
clean: ## remove what was built, but not what setup installed
	$(if $(wildcard build),find build -mindepth 1 -maxdepth 1 ! -name venv ! -name 'sysroot-*' -exec rm -rf {} +)

-include $(LIB_OBJ:.o=.d) $(CMD_OBJ:.o=.d) $(UNIT:=.d) $(ORACLES:=.d)
