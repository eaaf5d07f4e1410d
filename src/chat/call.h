/* call.h - a call of a tool, as an assistant made it. */
#ifndef CHAT_CALL_H
#define CHAT_CALL_H

#include "base/str.h"

struct chat_call {
    struct str id;
    struct str name;      /* of the function */
    struct str arguments; /* JSON text of an object, spelled as it came; or what a model wrote of
                             one, which may be any text */
    struct str frame;     /* "" where tool_frame_read() has found none */
    size_t place;         /* 1 + bytes of content before it; 0: it does not say */
};

#endif
