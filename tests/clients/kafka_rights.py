"""What an operator of Kafka does: gives rights, takes them back, sets passwords. Reads commands as JSON lines, answers each with a line."""

import json
import sys

from confluent_kafka.admin import (
    AclBinding, AclBindingFilter, AclOperation, AclPermissionType, AdminClient, ResourcePatternType, ResourceType,
    ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion,
)

admin = AdminClient({"bootstrap.servers": sys.argv[1]})


def right(kind, name, operation, user, of=AclBinding):
    return of(ResourceType[kind], name, ResourcePatternType.PREFIXED, f"User:{user}", "*", AclOperation[operation], AclPermissionType.ALLOW)


for line in sys.stdin:
    command = json.loads(line)
    match command["do"]:
        case "give":
            asked = admin.create_acls([right(*one, command["user"]) for one in command["rights"]], request_timeout=60)
        case "take":
            asked = admin.delete_acls([right(*one, command["user"], AclBindingFilter) for one in command["rights"]], request_timeout=60)
        case "password":
            info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
            asked = admin.alter_user_scram_credentials([UserScramCredentialUpsertion(command["user"], info, command["password"].encode())], request_timeout=60)
    for future in asked.values():
        future.result()
    print("done", flush=True)
