/* tool_parser.c - what of an answer's text is content and what is a call, byte by byte: so no cut
 * of the text can make a difference. */
#include "chat/tool_frame.h"
#include "chat/tool_parser_internal.h"

#include "base/mem.h"

enum {
    MAX_HELD_BYTES = TOOL_PARSER_MAX_HELD + 1,   /* and the byte that is looked at */
    MAX_ARGUMENTS = 8 * TOOL_PARSER_MAX_HELD,    /* a byte of code or Python becomes six at most */
    MAX_KEPT_BYTES = TOOL_PARSER_MAX_OUTPUT / 8, /* beyond, no frame is believed */
    FLUSH_BYTES = 4096
};

/* --- output */

void tool_output_init(struct tool_output *o)
{
    *o = (struct tool_output){0};
    buf_init(&o->text, TOOL_PARSER_MAX_OUTPUT);
}

void tool_output_finish(struct tool_output *o)
{
    buf_finish(&o->text);
    mem_free(o->spans);
    *o = (struct tool_output){0};
}

void tool_output_clear(struct tool_output *o)
{
    buf_clear(&o->text);
    o->n_spans = 0;
}

/* Room for one more span: the last one if it goes on. */
static struct tool_span *next_span(struct tool_output *o, struct tool_span span, struct error *e)
{
    struct tool_span *last = o->n_spans > 0 ? &o->spans[o->n_spans - 1] : NULL;
    if (last != NULL && last->kind == span.kind && last->call == span.call) {
        return last;
    }
    if (o->n_spans == o->spans_capacity) {
        size_t capacity = o->spans_capacity > 0 ? 2 * o->spans_capacity : 8;
        struct tool_span *spans =
            mem_resize(o->spans, capacity, sizeof *spans, "spans of an answer", e);
        if (spans == NULL) {
            return NULL;
        }
        o->spans = spans;
        o->spans_capacity = capacity;
    }
    o->spans[o->n_spans] = span;
    return &o->spans[o->n_spans++];
}

static void put(struct tool_parser *p, struct tool_output *out, struct tool_span span,
                struct str text)
{
    if (p->failed) {
        return;
    }
    if (!buf_reserve(&out->text, text.n, p->e)) {
        p->failed = true;
        return;
    }
    struct tool_span *to = next_span(out, span, p->e);
    if (to == NULL) {
        p->failed = true;
        return;
    }
    to->n_bytes += text.n;
    buf_append(&out->text, text, NULL); /* there is room */
}

static void tell(struct tool_parser *p, struct tool_span span, struct str text)
{
    if (text.n == 0 && span.kind == TOOL_CALL_ARGUMENTS) {
        return;
    }
    if (p->keeps != TOOL_KEEPS_NOTHING) {
        put(p, &p->kept, span, text);
    }
    if (p->keeps == TOOL_KEEPS_NOTHING ||
        (p->keeps == TOOL_KEEPS_END && span.kind != TOOL_CALL_END)) {
        put(p, p->out, span, text);
    }
}

/* --- calls that may have frames */

/* The last call, whole. */
static struct chat_call kept_call(const struct tool_parser *p)
{
    struct str told = buf_str(&p->kept.text);
    size_t n_name = p->kept.spans[0].n_bytes;
    return (struct chat_call){.name = {told.p, n_name}, .arguments = str_skip(told, n_name)};
}

/* Whether the text is what its spelling, if it has one, writes of the call, or begins so. */
static bool is_spelled(struct tool_parser *p, const struct chat_call *call, bool is_last,
                       bool is_open, struct str text)
{
    const struct tool_span *name = &p->kept.spans[0];
    struct buf written;
    bool is_it = false;
    buf_init(&written, 8 * (call->name.n + call->arguments.n) + 256);
    if (name->spelling != NULL) {
        p->failed =
            !tool_call_write(name->spelling, call, name->call == 0, is_last, &written, p->e);
        is_it = !p->failed && (is_open ? str_starts_with(buf_str(&written), text)
                                       : str_eq(buf_str(&written), text));
    }
    buf_finish(&written);
    return is_it;
}

/* Makes the frame of the call whose text ends n_behind bytes before what is kept does, if its id
 * cannot do without: none where it has no end, as in no prompt.
 * Where the answer did not end by itself, the text is that up to the end of the arguments, closed.
 */
static void make_frame(struct tool_parser *p, size_t n_behind, bool is_last, struct buf *out)
{
    struct chat_call call = kept_call(p);
    bool is_open = is_last && !p->in_words && (p->is_cut || p->one_call);
    p->kept_text.n = is_open ? p->n_to_end : p->kept_text.n - n_behind;
    if (p->kept.spans[p->kept.n_spans - 1].end != TOOL_COMPLETE) {
        return;
    }
    bool is_told = is_spelled(p, &call, is_last, is_open, buf_str(&p->kept_text));
    p->failed = p->failed || (p->in_words && !tool_frame_place(p->content, out, p->e));
    if (p->failed || (is_told && (!p->in_words || p->keeps == TOOL_KEEPS_END))) {
        return;
    }
    p->failed = p->failed || (is_open && !buf_append(&p->kept_text, buf_str(&p->closers), p->e)) ||
                !tool_frame_make(buf_str(&p->kept_text), call.arguments, p->ends_list, out, p->e);
}

/* What the call that has begun did not tell, with a frame before it. */
static void tell_kept(struct tool_parser *p, struct str frame)
{
    struct str rest = buf_str(&p->kept.text);
    if (frame.n > 0) {
        tell(p, (struct tool_span){.kind = TOOL_CALL_FRAME, .call = p->kept.spans[0].call}, frame);
    }
    for (size_t i = 0; i < p->kept.n_spans; i++) {
        struct tool_span span = p->kept.spans[i];
        struct str text = {rest.p, span.n_bytes};
        span.n_bytes = 0;
        tell(p, span, text);
        rest = str_skip(rest, text.n);
    }
}

/* The same where that is its end alone: the frame follows the arguments. */
static void tell_end(struct tool_parser *p, struct str frame)
{
    const struct tool_span *begin = &p->kept.spans[0], *end = &p->kept.spans[p->kept.n_spans - 1];
    struct chat_call call = kept_call(p);
    struct buf blanks;
    buf_init(&blanks, TOOL_FRAME_BLANKS);
    p->failed = p->failed || (frame.n > 0 && !tool_frame_blank(frame, begin->spelling, &call,
                                                               end->call == 0, &blanks, p->e));
    tell(p, (struct tool_span){.kind = TOOL_CALL_ARGUMENTS, .call = end->call}, buf_str(&blanks));
    tell(p, *end, STR(""));
    buf_finish(&blanks);
}

/* What was kept is told, and nothing is kept any more. */
static void tell_rest(struct tool_parser *p, struct str frame)
{
    size_t n = p->kept.n_spans; /* 0 where not even its name is told */
    bool has_end = n > 0 && p->kept.spans[n - 1].kind == TOOL_CALL_END;
    bool is_all = p->keeps == TOOL_KEEPS_ALL;
    p->keeps = TOOL_KEEPS_NOTHING;
    if (is_all) {
        tell_kept(p, frame);
    } else if (has_end) {
        tell_end(p, frame);
    }
    tool_output_clear(&p->kept);
    buf_clear(&p->kept_text);
}

/* The last call is told, now that it is known what is behind it: n_behind bytes of what it was kept
 * with are not its own. */
static void release(struct tool_parser *p, size_t n_behind, bool is_last)
{
    struct buf frame;
    if (p->keeps == TOOL_KEEPS_NOTHING || p->failed) {
        return;
    }
    buf_init(&frame, TOOL_FRAME_BYTES);
    make_frame(p, n_behind, is_last, &frame);
    tell_rest(p, buf_str(&frame));
    buf_finish(&frame);
}

/* The call that has begun may have a frame. */
static void keep(struct tool_parser *p, struct str before)
{
    bool has_name = p->spelling != NULL || p->single_quoted != NULL || p->double_quoted != NULL;
    p->keeps = p->framing == TOOL_FRAMES_NONE              ? TOOL_KEEPS_NOTHING
               : p->framing == TOOL_FRAMES_ODD && has_name ? TOOL_KEEPS_END
                                                           : TOOL_KEEPS_ALL;
    p->ends_list = p->is_in_list && p->list == TOOL_NO_LIST;
    if (p->keeps != TOOL_KEEPS_NOTHING) {
        p->failed = p->failed || !buf_append(&p->kept_text, before, p->e);
    }
}

/* --- content */

static void end_ticks(struct tool_marks *m)
{
    if (m->n_ticks >= 3 && m->ticks_begin_line) {
        m->in_fence = !m->in_fence;
    } else if (m->n_ticks > 0 && !m->in_fence) {
        m->in_code = !m->in_code;
    }
    m->n_ticks = 0;
}

/* Code between backticks ends with its line at the latest: a lone one is no code. */
static void mark(struct tool_marks *m, char c)
{
    if (c == '`') {
        m->ticks_begin_line = m->n_ticks > 0 ? m->ticks_begin_line : m->line_is_blank;
        m->n_ticks++;
        m->line_is_blank = false;
        return;
    }
    end_ticks(m);
    m->in_code = m->in_code && c != '\n';
    m->line_is_blank = c == '\n' || (m->line_is_blank && json_is_space(c));
}

static void tell_content(struct tool_parser *p, struct str text)
{
    p->in_words = true;
    release(p, p->held.n, true);
    p->in_words = false;
    p->content = tool_place_behind(p->content, text);
    for (size_t i = 0; i < text.n; i++) {
        mark(&p->marks, text.p[i]);
    }
    tell(p, (struct tool_span){.kind = TOOL_CONTENT}, text);
    p->only_calls = false;
    p->in_gap = false;
    p->has_separator = false;
    p->list = TOOL_NO_LIST;
    p->closer_of = TOOL_TEXT;
}

/* What is held turns out to be content. */
static void tell_held(struct tool_parser *p)
{
    if (p->held.n > 0) {
        tell_content(p, buf_str(&p->held));
        buf_clear(&p->held);
    }
    buf_clear(&p->arguments);
    p->state = TOOL_TEXT;
}

static void hold(struct tool_parser *p, char c)
{
    p->failed = p->failed || !buf_append_byte(&p->held, c, p->e);
}

/* --- calls */

/* Of the call that has this before its arguments, beside the first one, and whose Python strings
 * are in such quotes. */
static const struct tool_spelling *find_spelling(struct tool_parser *p, struct str before,
                                                 char quote)
{
    struct error why = {0};
    struct tool_begin begin = {
        .before = before, .name = p->tool->name, .quote = quote, .is_code = p->state == TOOL_CODE};
    if (p->state == TOOL_OBJECT_TAIL) {
        begin.arguments = buf_str(&p->arguments);
    }
    bool is_text = p->state == TOOL_OBJECT_ARGUMENTS && p->object.kind == TOOL_ARGUMENTS_STRING;
    bool has_name = !is_text && !p->list_ended && (p->n_begun == 0 || p->first_spelling != NULL);
    const struct tool_spelling *found =
        has_name ? tool_spelling_find(&begin, p->first_spelling, &why) : NULL;
    if (why.code != ERROR_NONE && !p->failed) {
        error_set(p->e, why.code, "%s", why.text);
        p->failed = true;
    }
    return found;
}

/* The name of the call that has begun, which waits until the quotes of a Python call are known: its
 * spelling is told with it. */
static void tell_name(struct tool_parser *p)
{
    size_t call = p->n_begun - 1;
    const struct tool_spelling *s = p->python.quote == '"'    ? p->double_quoted
                                    : p->python.quote == '\'' ? p->single_quoted
                                                              : p->spelling;
    p->name_waits = false;
    p->first_spelling = call == 0 ? s : p->first_spelling;
    tell(p, (struct tool_span){.kind = TOOL_CALL_NAME, .call = call, .spelling = s}, p->tool->name);
}

static void begin_call(struct tool_parser *p, struct str before)
{
    release(p, before.n, false);
    bool is_python = p->state == TOOL_PYTHON_ARGUMENTS;
    p->python.quote = is_python ? p->python.quote : '\0';
    p->spelling = find_spelling(p, before, '\0');
    p->single_quoted = is_python ? find_spelling(p, before, '\'') : NULL;
    p->double_quoted = is_python ? find_spelling(p, before, '"') : NULL;
    p->n_begun++;
    keep(p, before);
    p->list = p->candidate_list != TOOL_NO_LIST ? p->candidate_list : p->list;
    p->is_in_list = p->list != TOOL_NO_LIST;
    p->closer_of = p->candidate_tag != TOOL_TEXT ? p->candidate_tag : p->closer_of;
    buf_clear(&p->held);
    p->name_waits = is_python && p->python.quote == '\0';
    if (!p->name_waits) {
        tell_name(p);
    }
}

static void tell_arguments(struct tool_parser *p, size_t n)
{
    struct tool_span span = {.kind = TOOL_CALL_ARGUMENTS, .call = p->n_ended};
    if (p->name_waits) {
        tell_name(p);
    }
    tell(p, span, (struct str){p->arguments.data, n});
    if (p->state == TOOL_PYTHON_ARGUMENTS) {
        python_call_take(&p->python, n);
    } else {
        buf_consume(&p->arguments, n);
    }
}

static void tell_settled(struct tool_parser *p)
{
    bool is_python = p->state == TOOL_PYTHON_ARGUMENTS;
    if (p->name_waits && p->python.quote == '\0' && p->arguments.n <= FLUSH_BYTES) {
        return;
    }
    tell_arguments(p, is_python ? python_call_settled(&p->python) : p->arguments.n);
}

/* What a call lacks whose arguments have ended; nothing can close code. */
static void note_closers(struct tool_parser *p, enum tool_state next)
{
    bool in_object = next == TOOL_OBJECT_TAIL;
    struct buf *to = &p->closers;
    buf_clear(to);
    if (p->state == TOOL_CODE) {
        return;
    }
    p->failed =
        p->failed ||
        (in_object && json_scan_in_string(&p->object.scan) && !buf_append_byte(to, '"', p->e)) ||
        (in_object && !buf_append_byte(to, '}', p->e)) ||
        (p->list != TOOL_NO_LIST && !buf_append_byte(to, ']', p->e)) ||
        (p->closer_of == TOOL_IN_TAG && !buf_append(to, STR("</tool_call>"), p->e)) ||
        (p->closer_of == TOOL_FUNCTION_BODY && !buf_append(to, STR("</function>"), p->e));
}

/* next: TOOL_TEXT, or TOOL_OBJECT_TAIL. */
static void end_call(struct tool_parser *p, enum tool_call_end end, enum tool_state next)
{
    tell_arguments(p, p->arguments.n);
    if (p->keeps != TOOL_KEEPS_NOTHING) {
        note_closers(p, next);
    }
    tell(p, (struct tool_span){.kind = TOOL_CALL_END, .call = p->n_ended, .end = end}, STR(""));
    p->n_ended++;
    p->state = next;
    p->in_gap = end == TOOL_COMPLETE;
    p->only_calls = p->only_calls && end == TOOL_COMPLETE;
    p->has_separator = false;
    p->marks = (struct tool_marks){.line_is_blank = true};
}

static void put_code(struct tool_parser *p, char c)
{
    char text[6];
    size_t n = json_escape_byte(c, text);
    p->failed = p->failed || !buf_append(&p->arguments, (struct str){text, n}, p->e);
    if (p->arguments.n > FLUSH_BYTES) {
        tell_settled(p);
    }
}

/* What is held after <|python_tag|> is code. */
static void begin_code(struct tool_parser *p)
{
    struct buf code = p->held;
    buf_init(&p->held, MAX_HELD_BYTES);
    p->tool = p->code;
    p->state = TOOL_CODE;
    p->candidate_list = TOOL_NO_LIST;
    release(p, code.n, false);
    begin_call(p, (struct str){code.data, p->code_begin});
    if (p->keeps != TOOL_KEEPS_NOTHING) {
        struct str begun = str_skip(buf_str(&code), p->code_begin);
        p->failed = p->failed || !buf_append(&p->kept_text, begun, p->e);
        p->n_to_end = p->kept_text.n;
    }
    buf_clear(&p->arguments);
    p->failed = p->failed || !buf_append(&p->arguments, STR("{\"code\": \""), p->e);
    for (size_t i = p->code_begin; i < code.n; i++) {
        put_code(p, code.data[i]);
    }
    buf_finish(&code);
}

/* --- bytes */

static void push_text(struct tool_parser *p, char c);

/* The candidate is no call; c follows it. */
static void refuse(struct tool_parser *p, char c, bool is_json)
{
    if (p->after_tag && p->code != NULL) {
        begin_code(p);
        put_code(p, c);
        return;
    }
    tell_held(p);
    if (is_json) {
        tell_content(p, (struct str){&c, 1});
        p->state = p->scan.state == SCAN_END ? TOOL_TEXT : TOOL_SKIP;
    } else {
        push_text(p, c);
    }
}

static void push_candidate(struct tool_parser *p, char c)
{
    bool is_full = p->held.n == TOOL_PARSER_MAX_HELD;
    enum tool_verdict verdict = tool_candidate_push(p, c);
    if (verdict == TOOL_MAY_BE && is_full) {
        verdict = p->state == TOOL_OBJECT ? TOOL_IS_JSON : TOOL_IS_NOT;
    }
    switch (verdict) {
    case TOOL_MAY_BE:
        hold(p, c);
        break;
    case TOOL_IS_CALL:
        begin_call(p, buf_str(&p->held));
        if (p->state == TOOL_TEXT || p->state == TOOL_OBJECT_TAIL) {
            end_call(p, TOOL_COMPLETE, p->state);
        }
        break;
    case TOOL_IS_ENVELOPE:
        buf_clear(&p->held);
        p->state = TOOL_TEXT;
        break;
    default:
        refuse(p, c, verdict == TOOL_IS_JSON);
    }
}

/* Between calls, and before the first. Returns whether c is of the gap. */
static bool push_gap(struct tool_parser *p, char c)
{
    bool is_separator = (c == ';' || c == ',') && p->n_begun > 0 && !p->has_separator;
    if (c == ']' && p->list != TOOL_NO_LIST) {
        buf_clear(&p->held);
        p->list = TOOL_NO_LIST;
        p->list_ended = true;
        p->has_separator = false;
        return true;
    }
    if ((!json_is_space(c) && !is_separator) || p->held.n == TOOL_PARSER_MAX_HELD) {
        return false;
    }
    p->has_separator = p->has_separator || is_separator;
    hold(p, c);
    return true;
}

static void push_text(struct tool_parser *p, char c)
{
    if (p->in_gap && push_gap(p, c)) {
        return;
    }
    if (c != '`') {
        end_ticks(&p->marks);
    }
    bool is_code = p->marks.in_fence || p->marks.in_code;
    if (!is_code && tool_hears(p) && p->held.n < TOOL_PARSER_MAX_HELD &&
        tool_candidate_begin(p, c)) {
        hold(p, c);
        return;
    }
    tell_held(p);
    tell_content(p, (struct str){&c, 1});
}

static void push_skip(struct tool_parser *p, char c)
{
    if (!json_scan_push(&p->scan, c)) {
        p->state = TOOL_TEXT;
        push_text(p, c);
        return;
    }
    tell_content(p, (struct str){&c, 1});
    p->state = p->scan.state == SCAN_END ? TOOL_TEXT : TOOL_SKIP;
}

static void push_tail(struct tool_parser *p, char c)
{
    if (p->held.n == TOOL_PARSER_MAX_HELD || !tool_object_end(&p->object, c)) {
        tell_held(p);
        push_text(p, c);
        return;
    }
    hold(p, c);
    if (tool_object_is_closed(&p->object)) {
        buf_clear(&p->held);
        p->state = TOOL_TEXT;
    }
}

/* Sets *end for a call that ends with c, or before it (broken). */
static bool push_python_arguments(struct tool_parser *p, char c, enum tool_call_end *end)
{
    enum python_result result = PYTHON_MORE;
    p->failed = p->failed || !python_call_push(&p->python, c, &result, p->e);
    *end = result == PYTHON_DONE ? TOOL_COMPLETE : TOOL_BROKEN;
    return result == PYTHON_MORE;
}

static bool push_object_arguments(struct tool_parser *p, char c, enum tool_call_end *end)
{
    bool is_broken = false;
    p->failed = p->failed || !tool_object_argue(&p->object, c, &is_broken, p->e);
    *end = is_broken ? TOOL_BROKEN : TOOL_COMPLETE;
    return !is_broken && p->object.kind != TOOL_ARGUMENTS_WHOLE;
}

static bool push_function_arguments(struct tool_parser *p, char c, enum tool_call_end *end)
{
    bool is_broken = !json_scan_push(&p->scan, c);
    *end = is_broken ? TOOL_BROKEN : TOOL_COMPLETE;
    if (!is_broken) {
        p->failed = p->failed || !buf_append_byte(&p->arguments, c, p->e);
    }
    return !is_broken && p->scan.state != SCAN_END;
}

static void push_arguments(struct tool_parser *p, char c)
{
    enum tool_call_end end;
    bool is_object = p->state == TOOL_OBJECT_ARGUMENTS;
    bool goes_on = is_object                           ? push_object_arguments(p, c, &end)
                   : p->state == TOOL_PYTHON_ARGUMENTS ? push_python_arguments(p, c, &end)
                                                       : push_function_arguments(p, c, &end);
    if (!goes_on) {
        end_call(p, end, is_object && end == TOOL_COMPLETE ? TOOL_OBJECT_TAIL : TOOL_TEXT);
        if (end == TOOL_BROKEN) {
            push_text(p, c);
        }
    } else if (p->arguments.n > FLUSH_BYTES) {
        tell_settled(p);
    }
}

/* c is part of what is kept, or of what follows it. n_ended: calls before it. */
static void keep_byte(struct tool_parser *p, char c, size_t n_ended)
{
    if (p->kept_text.n == MAX_KEPT_BYTES) {
        tell_rest(p, STR(""));
        return;
    }
    p->failed = p->failed || !buf_append_byte(&p->kept_text, c, p->e);
    if (p->n_ended == n_ended && p->n_ended == p->n_begun) {
        return;
    }
    p->n_to_end = p->kept_text.n;
    if (p->one_call && p->n_ended == p->n_begun) {
        release(p, 0, true);
    }
}

static void push_byte(struct tool_parser *p, char c)
{
    size_t n_ended = p->n_ended;
    switch (p->state) {
    case TOOL_TEXT:
        push_text(p, c);
        break;
    case TOOL_SKIP:
        push_skip(p, c);
        break;
    case TOOL_OBJECT_TAIL:
        push_tail(p, c);
        break;
    case TOOL_OBJECT_ARGUMENTS:
    case TOOL_FUNCTION_ARGUMENTS:
    case TOOL_PYTHON_ARGUMENTS:
        push_arguments(p, c);
        break;
    case TOOL_CODE:
        put_code(p, c);
        break;
    default:
        push_candidate(p, c);
    }
    if (p->keeps != TOOL_KEEPS_NOTHING) {
        keep_byte(p, c, n_ended);
    }
}

static bool in_arguments(const struct tool_parser *p)
{
    return p->state == TOOL_OBJECT_ARGUMENTS || p->state == TOOL_FUNCTION_ARGUMENTS ||
           p->state == TOOL_PYTHON_ARGUMENTS || p->state == TOOL_CODE;
}

/* --- the parser */

struct tool_parser *tool_parser_create(enum tool_format format, const struct tool_set *set,
                                       struct error *e)
{
    struct tool_parser *p = mem_alloc(1, sizeof *p, "parser of calls", e);
    if (p == NULL) {
        return NULL;
    }
    bool hears = format != TOOL_FORMAT_NONE && set->n_tools > 0;
    *p = (struct tool_parser){.set = set,
                              .hears_llama = hears && format != TOOL_FORMAT_HERMES,
                              .hears_hermes = hears && format == TOOL_FORMAT_HERMES,
                              .code = tool_set_find(set, STR("code_interpreter")),
                              .content = tool_place_begin(),
                              .only_calls = true,
                              .in_gap = true,
                              .marks = {.line_is_blank = true}};
    buf_init(&p->held, MAX_HELD_BYTES);
    buf_init(&p->name, set->max_name_bytes);
    buf_init(&p->arguments, MAX_ARGUMENTS);
    buf_init(&p->kept_text, TOOL_PARSER_MAX_OUTPUT);
    buf_init(&p->closers, sizeof "\"}]</tool_call></function>");
    tool_output_init(&p->kept);
    return p;
}

void tool_parser_destroy(struct tool_parser *p)
{
    if (p != NULL) {
        buf_finish(&p->held);
        buf_finish(&p->name);
        buf_finish(&p->arguments);
        buf_finish(&p->kept_text);
        buf_finish(&p->closers);
        tool_output_finish(&p->kept);
        mem_free(p);
    }
}

void tool_parser_frame(struct tool_parser *p, enum tool_framing framing)
{
    p->framing = framing;
}

void tool_parser_end_with_call(struct tool_parser *p)
{
    p->one_call = true;
}

void tool_parser_cut(struct tool_parser *p)
{
    p->is_cut = true;
}

bool tool_parser_push(struct tool_parser *p, struct str piece, struct tool_output *out,
                      struct error *e)
{
    p->out = out;
    p->e = e;
    for (size_t i = 0; i < piece.n && !p->failed; i++) {
        push_byte(p, piece.p[i]);
    }
    if (in_arguments(p) && !p->failed) {
        tell_settled(p);
    }
    return !p->failed;
}

static bool is_blank(struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (!json_is_space(text.p[i])) {
            return false;
        }
    }
    return true;
}

/* Is it cut within the closing tag of a call? */
static bool is_closing_tag(const struct tool_parser *p)
{
    struct str tag = str_skip(buf_str(&p->held), p->state == TOOL_LITERAL ? p->name_begin : 0);
    return p->state == TOOL_LITERAL && p->in_gap && p->closer_of != TOOL_TEXT &&
           str_starts_with(tag, STR("</"));
}

bool tool_parser_flush(struct tool_parser *p, struct tool_output *out, struct error *e)
{
    p->out = out;
    p->e = e;
    bool is_candidate = p->state > TOOL_TEXT && p->state < TOOL_SKIP && !is_closing_tag(p);
    if (is_candidate && p->after_tag && p->code != NULL &&
        !is_blank(str_skip(buf_str(&p->held), p->code_begin))) {
        begin_code(p);
    }
    if (p->state == TOOL_CODE) {
        p->failed = p->failed || !buf_append(&p->arguments, STR("\"}"), p->e);
        end_call(p, TOOL_COMPLETE, TOOL_TEXT);
    } else if (in_arguments(p)) {
        end_call(p, TOOL_CUT, TOOL_TEXT);
    } else if (is_candidate || !p->in_gap || p->n_begun == 0) {
        tell_held(p);
    }
    release(p, 0, true);
    buf_clear(&p->held);
    buf_clear(&p->arguments);
    return !p->failed;
}

size_t tool_parser_calls(const struct tool_parser *p)
{
    return p->n_ended - (p->keeps != TOOL_KEEPS_NOTHING && p->n_ended == p->n_begun);
}

bool tool_parser_in_string(const struct tool_parser *p)
{
    return p->state == TOOL_OBJECT_TAIL && json_scan_in_string(&p->object.scan);
}

size_t tool_parser_held(const struct tool_parser *p)
{
    return p->keeps == TOOL_KEEPS_ALL ? p->kept_text.n : p->held.n + p->arguments.n;
}
