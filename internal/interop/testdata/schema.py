# The schema of tenant's configuration file, judged by Python's jsonschema: it is a valid
# schema, the file validates, and the file with another key does not.
import json
import sys

import jsonschema
import yaml

with open(sys.argv[1]) as f:
    schema = json.load(f)
with open(sys.argv[2]) as f:
    tenant = yaml.safe_load(f)
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
validator.validate(tenant)
tenant["users"][0]["pasword"] = "x"
print([e.message for e in validator.iter_errors(tenant)])
