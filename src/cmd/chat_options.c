/* chat_options.c - from options to a chat template. */
#include "cmd/chat_options.h"

#include <time.h>

const char *chat_options_given(const struct chat_options *o)
{
    return o->template != NULL      ? "--chat-template"
           : o->date != NULL        ? "--date"
           : o->tool_format != NULL ? "--tool-format"
                                    : NULL;
}

bool chat_options_read(struct chat_options *o, struct error *e)
{
    enum tool_format format;
    if (o->tool_format != NULL && !tool_format_parse(str_from(o->tool_format), &format)) {
        return error_set(e, ERROR_USAGE,
                         "option --tool-format: '%s' is not llama3-json, pythonic, function-tag, "
                         "hermes or none",
                         o->tool_format);
    }
    tzset(); /* reads a file, which a sandbox may not allow later */
    return chat_choice_init(&o->choice, o->template, e);
}

void chat_options_finish(struct chat_options *o)
{
    chat_choice_finish(&o->choice);
}

bool chat_options_open(const struct chat_options *o, const struct gguf *g,
                       const struct tokenizer *t, struct chat_template *out, struct error *e)
{
    if (!chat_template_init(out, g, t, &o->choice, e)) {
        return false;
    }
    bool today = o->date != NULL && strcmp(o->date, "today") == 0;
    if (o->date != NULL && !out->support.date && !(today && out->support.clock)) {
        bool has_clock = out->support.clock;
        chat_template_finish(out);
        return error_set(e, ERROR_USAGE, "option --date: the chat template %s",
                         has_clock ? "has the date from the clock alone: 'today' or nothing"
                                   : "writes no date");
    }
    out->date = o->date;
    if (o->tool_format != NULL) {
        tool_format_parse(str_from(o->tool_format), &out->tool_format);
    }
    return true;
}
