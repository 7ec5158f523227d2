"""Reads TensorBoard's files as TensorFlow does, checksums and all; prints what is in them."""

import json
import sys

import tensorflow as tf

for path in sys.argv[1:]:
    for event in tf.compat.v1.train.summary_iterator(path):
        kind = event.WhichOneof("what")
        value = event.summary.value
        said = {"file_version": event.file_version} if kind == "file_version" else {}
        if kind == "session_log":
            said = {"status": event.session_log.status}
        if kind == "summary":
            said = {"name": value[0].tag, "value": value[0].simple_value}
        print("event:", json.dumps({"path": path, "step": event.step, "seconds": event.wall_time, **said}))
