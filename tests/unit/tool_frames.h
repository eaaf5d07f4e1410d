/* tool_frames.h - what tests of frames share. */
#ifndef TESTS_TOOL_FRAMES_H
#define TESTS_TOOL_FRAMES_H

#include "tool_ids.h"

#define N(rows)  (sizeof(rows) / sizeof(rows)[0])
#define HERMES   TOOL_FORMAT_HERMES
#define LLAMA    TOOL_FORMAT_LLAMA3_JSON
#define F_CALL   "{\"name\": \"f\", \"parameters\": {\"a\": 1}}"
#define ODD_CALL "{ \"name\": \"f\", \"parameters\": {\"a\": 1}}"
#define G_CALL   "{\"name\": \"g\", \"parameters\": {}}"

static const char tools_text[] = "[{\"type\": \"function\", \"function\": {\"name\": \"f\"}},"
                                 " {\"type\": \"function\", \"function\": {\"name\": \"g\"}},"
                                 " {\"function\": {\"name\": \"code_interpreter\"}}]";

#endif
