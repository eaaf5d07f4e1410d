#!/bin/sh
# One message; the answer comes as it is made, an event a piece.
curl -sS --no-buffer "${OPENAI_BASE_URL:-http://127.0.0.1:8080/v1}/chat/completions" \
    -H "Content-Type: application/json" \
    -H "Authorization: Bearer ${OPENAI_API_KEY:-none}" \
    -d '{
        "model": "meta-llama/llama-3.3-70b-instruct",
        "messages": [
            {"role": "system", "content": "Act like you are a helpful assistant."},
            {"role": "user", "content": "Hi there!"}
        ],
        "max_tokens": 512,
        "stream": true
    }'
