"""validate.py FILE: whether a bill of materials keeps to CycloneDX 1.6."""
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

with open(sys.argv[1], encoding="utf-8") as f:
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(f.read())
if fault:
    sys.exit(str(fault)[:2000])
