/* repl_input.c - libedit, with what it lacks: pastes of many lines as one message. */
#include "cmd/repl_input.h"

#include "base/mem.h"
#include "base/path.h"
#include "cmd/print.h"

#include <errno.h>
#include <limits.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

enum { HISTORY_LINES = 1000, PASTE_WAIT_US = 20000 };

static const char main_prompt[] = "> ", more_prompt[] = ". ";
static const char ask_for_marks[] = "\033[?2004h", ask_for_no_marks[] = "\033[?2004l";
static const char paste_begins[] = "\033[200~";
static const wchar_t paste_ends[] = L"\033[201~";
enum { PASTE_ENDS_LENGTH = sizeof paste_ends / sizeof paste_ends[0] - 1 };

/* --- pastes that the terminal marks: the text goes into the line as it is, line breaks too, and
 * waits for Enter */

static bool append_wide(struct buf *b, wchar_t c)
{
    return buf_append(b, (struct str){(const char *)&c, sizeof c}, NULL);
}

static bool ends_paste(const struct buf *b)
{
    return b->n >= PASTE_ENDS_LENGTH * sizeof(wchar_t) &&
           wmemcmp((const wchar_t *)(b->data + b->n) - PASTE_ENDS_LENGTH, paste_ends,
                   PASTE_ENDS_LENGTH) == 0;
}

/* Terminals send line breaks as CR; other control characters do not belong into a message (escape
 * stays for a while, because the end mark begins with it). 0 for what is left out. */
static wchar_t clean(wchar_t c)
{
    if (c == L'\r' || c == L'\n') {
        return L'\n';
    }
    bool is_control = c < 0x20 || (c >= 0x7F && c < 0xA0);
    return !is_control || c == L'\t' || c == 033 ? c : 0;
}

static void drop_escapes(struct buf *b)
{
    wchar_t *c = (wchar_t *)b->data;
    size_t n = 0;
    for (size_t i = 0; i < b->n / sizeof *c; i++) {
        if (c[i] != 033) {
            c[n++] = c[i];
        }
    }
    b->n = n * sizeof *c;
}

static unsigned char insert_paste(EditLine *editor, int key)
{
    (void)key;
    struct repl_input *in = NULL;
    el_get(editor, EL_CLIENTDATA, &in);
    struct buf text;
    buf_init(&text, (REPL_MESSAGE_BYTES + PASTE_ENDS_LENGTH + 1) * sizeof(wchar_t));
    wchar_t c = 0;
    bool cut = false;
    while (!ends_paste(&text) && el_wgetc(editor, &c) == 1) {
        wchar_t kept = clean(c);
        if (kept != 0 && !append_wide(&text, kept)) {
            cut = true; /* go on reading up to the end mark in the space that is left */
            buf_consume(&text, text.n - PASTE_ENDS_LENGTH * sizeof(wchar_t));
            append_wide(&text, kept);
        }
    }
    if (ends_paste(&text)) {
        text.n -= PASTE_ENDS_LENGTH * sizeof(wchar_t);
    }
    drop_escapes(&text);
    if (!cut && append_wide(&text, 0)) {
        cut = el_winsertstr(editor, (const wchar_t *)text.data) != 0 && text.n > sizeof(wchar_t);
    }
    in->paste_was_cut |= cut;
    buf_finish(&text);
    return CC_REFRESH;
}

/* --- set-up */

static char *show_prompt(EditLine *editor)
{
    struct repl_input *in = NULL;
    el_get(editor, EL_CLIENTDATA, &in);
    return (char *)in->prompt;
}

static void load_history(struct repl_input *in, const struct cmd_env *env)
{
    HistEvent event;
    in->history_path =
        cmd_user_path(env, env->xdg_state_home, ".local/state", "history", &in->not_kept);
    if (in->history_path != NULL) {
        path_make_parents(in->history_path);
        history(in->history, &event, H_LOAD, in->history_path);
    }
}

static bool write_history(const struct repl_input *in, const char *part)
{
    HistEvent event;
    mode_t before = umask(0177);
    FILE *f = fopen(part, "we");
    umask(before);
    if (f == NULL) {
        return false;
    }
    bool written = history(in->history, &event, H_SAVE_FP, f) >= 0 && fflush(f) == 0;
    int why_not = errno;
    bool closed = fclose(f) == 0;
    errno = written ? errno : why_not;
    return written && closed;
}

/* What was typed is private, and neither a crash nor a full disk must cost the old lines. */
static void save_history(struct repl_input *in)
{
    char part[PATH_MAX];
    if (in->history_path == NULL) {
        return;
    }
    int n = snprintf(part, sizeof part, "%s.part", in->history_path);
    errno = ENAMETOOLONG;
    bool is_short = n > 0 && (size_t)n < sizeof part;
    if (is_short && write_history(in, part) && rename(part, in->history_path) == 0) {
        in->not_kept = (struct error){0};
        return;
    }
    error_set(&in->not_kept, ERROR_IO, "%s: %s", in->history_path, strerror(errno));
    if (is_short) {
        unlink(part);
    }
}

bool repl_input_open(struct repl_input *in, const struct cmd_env *env, struct error *e)
{
    *in = (struct repl_input){.prompt = main_prompt};
    if (setlocale(LC_CTYPE, "C.UTF-8") == NULL) {
        setlocale(LC_CTYPE, "");
    }
    in->editor = el_init("puna", stdin, stderr, stderr);
    in->history = history_init();
    if (in->editor == NULL || in->history == NULL) {
        return error_set(e, ERROR_MEMORY, "out of memory: line editor");
    }
    HistEvent event;
    history(in->history, &event, H_SETSIZE, HISTORY_LINES);
    history(in->history, &event, H_SETUNIQUE, 1);
    el_set(in->editor, EL_CLIENTDATA, in);
    el_set(in->editor, EL_PROMPT, show_prompt);
    el_set(in->editor, EL_HIST, history, in->history);
    el_set(in->editor, EL_EDITOR, "emacs");
    el_set(in->editor, EL_SIGNAL, 1);
    el_set(in->editor, EL_ADDFN, "puna-paste", "insert a pasted text", insert_paste);
    el_set(in->editor, EL_BIND, paste_begins, "puna-paste", NULL);
    in->marks_pastes = env->term != NULL && env->term[0] != '\0' && strcmp(env->term, "dumb") != 0;
    load_history(in, env);
    return true;
}

void repl_input_close(struct repl_input *in)
{
    if (in->not_kept.code != ERROR_NONE) {
        fputs("puna run: warning: what was typed is not kept for the next chat: ", stderr);
        print_escaped(stderr, str_from(in->not_kept.text), SIZE_MAX);
        putc('\n', stderr);
    }
    if (in->history != NULL) {
        history_end(in->history);
    }
    if (in->editor != NULL) {
        el_end(in->editor);
    }
    mem_free(in->history_path);
    *in = (struct repl_input){0};
}

/* --- reading */

/* True when bytes wait already: the lines of an unmarked paste come faster than hands type. */
static bool input_waits(void)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(STDIN_FILENO, &set);
    struct timeval soon = {0, PASTE_WAIT_US};
    return select(STDIN_FILENO + 1, &set, NULL, NULL, &soon) > 0;
}

/* One line (a marked paste may have given it line breaks) without its end, valid until the next. */
static enum repl_event read_line(struct repl_input *in, const char *prompt, struct str *out)
{
    in->prompt = prompt;
    fputs(in->marks_pastes ? ask_for_marks : "", stderr);
    int n = 0;
    const char *line = el_gets(in->editor, &n);
    bool interrupted = line == NULL && n < 0 && errno == EINTR;
    const LineInfo *typed = el_line(in->editor);
    fputs(in->marks_pastes ? ask_for_no_marks : "", stderr);
    if (line == NULL || n <= 0) {
        fputc('\n', stderr);
        return !interrupted                      ? REPL_END
               : typed->lastchar > typed->buffer ? REPL_DISCARDED
                                                 : REPL_INTERRUPTED;
    }
    *out = (struct str){line, (size_t)n - (line[n - 1] == '\n')};
    return REPL_MESSAGE;
}

static bool ends_with(struct str s, struct str end)
{
    return s.n >= end.n && memcmp(s.p + s.n - end.n, end.p, end.n) == 0;
}

/* Appends lines, the first of them given, until the message is complete. */
static bool gather_lines(struct repl_input *in, struct str line, struct buf *out,
                         enum repl_event *out_event, struct error *e)
{
    const struct str quotes = STR("\"\"\"");
    bool quoted = str_starts_with(line, quotes);
    line = str_skip(line, quoted ? quotes.n : 0);
    for (;;) {
        bool closes = quoted && ends_with(line, quotes);
        bool goes_on = !quoted && ends_with(line, STR("\\"));
        size_t n = line.n - (closes ? quotes.n : goes_on ? 1 : 0);
        if (!buf_append(out, (struct str){line.p, n}, e)) {
            return false;
        }
        if (closes || (!quoted && !goes_on && !input_waits())) {
            return true;
        }
        enum repl_event event = read_line(in, more_prompt, &line);
        if (event != REPL_MESSAGE) {
            *out_event = event == REPL_END ? REPL_MESSAGE : REPL_DISCARDED;
            return true;
        }
        if (!buf_append_byte(out, '\n', e)) {
            return false;
        }
    }
}

static void remember(struct repl_input *in, struct str line)
{
    HistEvent event;
    struct buf text;
    buf_init(&text, REPL_MESSAGE_BYTES + 1);
    if (line.n > 0 && buf_append(&text, line, NULL) && buf_append_byte(&text, '\0', NULL)) {
        history(in->history, &event, H_ENTER, text.data);
        save_history(in);
    }
    buf_finish(&text);
}

static bool is_text(const struct repl_input *in, bool ok, struct error *e)
{
    return (ok && !in->paste_was_cut) ||
           error_set(e, ERROR_USAGE, "a message has at most %d bytes", REPL_MESSAGE_BYTES);
}

bool repl_input_ask(struct repl_input *in, const char *prompt, struct buf *out,
                    enum repl_event *out_event, struct error *e)
{
    struct str line;
    in->paste_was_cut = false;
    enum repl_event event = read_line(in, prompt, &line);
    if (!is_text(in, event != REPL_MESSAGE || gather_lines(in, line, out, &event, e), e)) {
        return false;
    }
    *out_event = event;
    return true;
}

void repl_input_drop(void)
{
    tcflush(STDIN_FILENO, TCIFLUSH);
}

bool repl_input_read(struct repl_input *in, struct buf *out, enum repl_event *out_event,
                     struct error *e)
{
    struct str line;
    in->paste_was_cut = false;
    enum repl_event event = read_line(in, main_prompt, &line);
    struct str word = line;
    while (event == REPL_MESSAGE && str_starts_with(word, STR(" "))) {
        word = str_skip(word, 1);
    }
    if (event == REPL_MESSAGE && str_starts_with(word, STR("/")) &&
        memchr(word.p, '\n', word.n) == NULL) {
        line = word;
        event = REPL_COMMAND;
    }
    bool ok = true;
    if (event == REPL_COMMAND) {
        ok = buf_append(out, line, e);
    } else if (event == REPL_MESSAGE) {
        ok = gather_lines(in, line, out, &event, e);
    }
    if (!is_text(in, ok, e)) {
        return false;
    }
    if (event == REPL_MESSAGE || event == REPL_COMMAND) {
        remember(in, buf_str(out));
    }
    *out_event = event;
    return true;
}
