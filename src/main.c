/* main.c - the table of subcommands. */
#include "base/json_tree.h"
#include "cmd/cmd.h"
#include "cmd/print.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *name;
    cmd_fn *run;
    const char *summary;
} commands[] = {
    {"run", cmd_run, "chat with a model, or answer one prompt"},
    {"inspect", cmd_inspect, "show metadata, tensors, tokenizer, memory of a model file"},
    {"tokenize", cmd_tokenize, "print the token ids of a text"},
    {"detokenize", cmd_detokenize, "print the text of token ids"},
    {"score", cmd_score, "log-probability of each token of a text, perplexity"},
    {"serve", cmd_serve, "serve a model to programs, over OpenAI's HTTP API"},
    {"keys", cmd_keys, "make, show, limit and revoke keys of programs"},
    {"usage", cmd_usage, "tokens that keys and models took, by day"},
    {"bench", cmd_bench, "speed of a model and its share of the machine's limit"},
    {"version", cmd_version, "print version, compiler and kernel sets"},
};

enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

static void print_help(FILE *f)
{
    fprintf(f, "Usage: puna COMMAND [OPTION]... [ARGUMENT]...\n"
               "Run Llama-family language models on your own hardware.\n\nCommands:\n");
    for (size_t i = 0; i < N_COMMANDS; i++) {
        fprintf(f, "  %-12s %s\n", commands[i].name, commands[i].summary);
    }
    fprintf(f, "\n'puna help COMMAND' or 'puna COMMAND --help' describes a command.\n");
}

/* What a service manager says is for this process; the texts stay where they are. */
static void keep_from_children(void)
{
    static const char *const names[] = {"LISTEN_PID",    "LISTEN_FDS",   "LISTEN_FDNAMES",
                                        "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        unsetenv(names[i]);
    }
}

int main(int argc, char **argv)
{
    const struct cmd_env env = {
        .home = getenv("HOME"),
        .xdg_data_home = getenv("XDG_DATA_HOME"),
        .xdg_state_home = getenv("XDG_STATE_HOME"),
        .xdg_cache_home = getenv("XDG_CACHE_HOME"),
        .models_dir = getenv("PUNA_MODELS"),
        .store = getenv("PUNA_STORE"),
        .no_color = getenv("NO_COLOR"),
        .term = getenv("TERM"),
        .listen_pid = getenv("LISTEN_PID"),
        .listen_fds = getenv("LISTEN_FDS"),
        .notify_socket = getenv("NOTIFY_SOCKET"),
        .watchdog_pid = getenv("WATCHDOG_PID"),
        .watchdog_usec = getenv("WATCHDOG_USEC"),
        .all = environ,
    };
    keep_from_children();
    json_tree_init();
    if (argc < 2) {
        print_help(stderr);
        return 2;
    }
    bool is_help = strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
                   strcmp(argv[1], "help") == 0;
    if (is_help && argc == 2) {
        print_help(stdout);
        return cmd_finish_output("help", 0);
    }
    if (is_help && argc > 3) {
        fputs("puna: surplus argument '", stderr);
        print_escaped(stderr, str_from(argv[3]), SIZE_MAX);
        fputs("' (see puna --help)\n", stderr);
        return 2;
    }
    const char *name = is_help ? argv[2] : strcmp(argv[1], "--version") == 0 ? "version" : argv[1];
    char *help_args[] = {(char *)name, "--help", NULL};
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(name, commands[i].name) == 0) {
            return is_help ? commands[i].run(&env, 2, help_args)
                           : commands[i].run(&env, argc - 1, argv + 1);
        }
    }
    fputs("puna: unknown command '", stderr);
    print_escaped(stderr, str_from(name), SIZE_MAX);
    fputs("' (see puna --help)\n", stderr);
    return 2;
}
