"""Sources of tasks: one module a format, each with a `load` that gives an `atjax.task.Task`.

The ``_target_`` of a YAML file under ``conf/task/`` names the function to call.
"""
