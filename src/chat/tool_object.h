/* tool_object.h - is a JSON object a call of a tool? {"name": "f", "parameters": {...}}, with
 * "arguments" for "parameters", a JSON string that holds the object, null or nothing for no
 * arguments, "type": "function", in any order of keys. Byte by byte; it is sure when the tool is
 * known and its arguments have begun. One owner, no locking. */
#ifndef CHAT_TOOL_OBJECT_H
#define CHAT_TOOL_OBJECT_H

#include "base/buf.h"
#include "chat/json_scan.h"
#include "chat/tool_set.h"

enum tool_object_result {
    TOOL_OBJECT_MORE,
    /* a call of object.tool; the byte is taken, and `arguments` has what there is of them */
    TOOL_OBJECT_SURE,
    TOOL_OBJECT_OTHER, /* JSON so far, the byte too, and no call whatever follows */
    TOOL_OBJECT_BROKEN /* the byte is not JSON here */
};

enum tool_member { TOOL_MEMBER_TYPE, TOOL_MEMBER_NAME, TOOL_MEMBER_ARGUMENTS, TOOL_MEMBER_NONE };

enum tool_arguments {
    TOOL_ARGUMENTS_NONE,   /* not begun, or null */
    TOOL_ARGUMENTS_RAW,    /* an object */
    TOOL_ARGUMENTS_STRING, /* a string that holds one */
    TOOL_ARGUMENTS_WHOLE   /* all of it is there */
};

enum { TOOL_MAX_KEY = 10 }; /* "parameters" */

struct tool_object {
    const struct tool_set *set;
    struct buf *arguments; /* borrowed: the JSON text of an object, as far as it goes */
    struct json_scan scan; /* of the object, or of a list that it lies in */
    unsigned level;        /* depth of the object's members */
    enum tool_member member;
    unsigned seen; /* bits of members */
    char key[TOOL_MAX_KEY];
    size_t n_text; /* bytes of the key, or of the string that is the value */
    struct json_unescape text;
    struct buf *name; /* borrowed */
    const struct tool *tool;
    enum tool_arguments kind;
    struct json_scan inner; /* of the object within a string */
};

/* Before the object's first byte. scan: of the list that it lies in, or just initialised. The
 * buffers are the caller's, empty, and outlive the object; name holds set->max_name_bytes + 4. */
void tool_object_init(struct tool_object *o, const struct tool_set *set,
                      const struct json_scan *scan, struct buf *name, struct buf *arguments);

/* Until it is not TOOL_OBJECT_MORE. *out is written on success. ERROR_MEMORY. */
bool tool_object_push(struct tool_object *o, char c, enum tool_object_result *out, struct error *e);

/* The next bytes of a call that is sure, until its arguments are whole: then kind is
 * TOOL_ARGUMENTS_WHOLE. *out_is_broken: the byte does not belong here, and is not taken. */
bool tool_object_argue(struct tool_object *o, char c, bool *out_is_broken, struct error *e);

/* After the arguments: the rest of the object. False: the byte is not JSON here. */
bool tool_object_end(struct tool_object *o, char c);

static inline bool tool_object_is_closed(const struct tool_object *o)
{
    return o->scan.depth < o->level;
}

#endif
