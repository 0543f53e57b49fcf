"""What holds of everything that the chart renders, whatever the values."""

import copy


def containers(resource):
    spec = pod(resource)
    return [*spec.get("initContainers", []), *spec["containers"]] if spec else []


def pod(resource):
    if resource["kind"] == "Pod":
        return resource["spec"]
    return resource.get("spec", {}).get("template", {}).get("spec")


def as_pod(resource):
    """The pod that a controller makes from a workload."""
    if "template" not in resource["spec"]:
        return copy.deepcopy(resource)
    template = copy.deepcopy(resource["spec"]["template"])
    template["metadata"] = {"name": resource["metadata"]["name"], "labels": template["metadata"]["labels"]}
    for claim in resource["spec"].get("volumeClaimTemplates", []):
        name = claim["metadata"]["name"]
        template["spec"]["volumes"].append({"name": name, "persistentVolumeClaim": {"claimName": name}})
    return {"apiVersion": "v1", "kind": "Pod", **template}


def pod_labels(resource):
    where = resource if resource["kind"] == "Pod" else resource["spec"]["template"]
    return where["metadata"]["labels"]


def name(resource):
    return f"{resource['kind']}/{resource['metadata']['name']}"


def matches(selector, labels):
    return all(labels.get(key) == value for key, value in selector.items())


def broken(resources):
    """Each sentence is something that does not hold."""
    pods = [resource for resource in resources if pod(resource)]
    services = {resource["metadata"]["name"]: resource for resource in resources if resource["kind"] == "Service"}
    for resource in pods:
        yield from broken_pod(resource)
    yield from broken_selectors(resources, pods)
    yield from broken_scaling(resources)
    yield from broken_hooks(resources, services)


def broken_pod(resource):
    where, spec = name(resource), pod(resource)
    if spec.get("automountServiceAccountToken") is not False:
        yield f"{where} gets a token of the API server"
    if spec.get("enableServiceLinks") is not False:
        yield f"{where} gets variables of other services, which look like overrides"
    if not spec["securityContext"].get("runAsNonRoot") or spec["securityContext"]["seccompProfile"] != {"type": "RuntimeDefault"}:
        yield f"{where} is not restricted"
    kinds = {volume["name"]: volume for volume in spec["volumes"]}
    kinds |= {claim["metadata"]["name"]: claim for claim in resource["spec"].get("volumeClaimTemplates", [])}
    for container in containers(resource):
        security = container["securityContext"]
        if not security["readOnlyRootFilesystem"] or security["capabilities"] != {"drop": ["ALL"]} or security["allowPrivilegeEscalation"]:
            yield f"{where} {container['name']} may write to its root or gain rights"
        limits = container["resources"]
        if "memory" not in limits["limits"] or "memory" not in limits["requests"] or "cpu" not in limits["requests"]:
            yield f"{where} {container['name']} has no bounds"
        for mount in container["volumeMounts"]:
            if mount["name"] not in kinds:
                yield f"{where} mounts {mount['name']}, which is not there"
    if resource["kind"] in ("Deployment", "StatefulSet"):
        container = spec["containers"][0]
        for probe, path in (("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
            if container[probe]["httpGet"]["path"] != path:
                yield f"{where} is asked for {container[probe]['httpGet']['path']} as {probe}"
        if spec["terminationGracePeriodSeconds"] < 16:
            yield f"{where} is killed before it has ended"
        if "checksum/config" not in resource["spec"]["template"]["metadata"]["annotations"]:
            yield f"{where} does not restart with a changed configuration"


def broken_selectors(resources, pods):
    """What selects pods selects those of exactly one stage, and every stage has what it wants."""
    wanted = {"Service": {}, "PodDisruptionBudget": {}, "NetworkPolicy": {}}
    for resource in resources:
        kind = resource["kind"]
        if kind not in wanted:
            continue
        spec = resource["spec"]
        selector = spec["selector"] if kind == "Service" else spec["podSelector" if kind == "NetworkPolicy" else "selector"]["matchLabels"]
        selected = [name(each) for each in pods if matches(selector, pod_labels(each))]
        if len(selected) != 1:
            yield f"{name(resource)} selects {selected}"
        for each in selected:
            wanted[kind].setdefault(each, []).append(resource)
    for each in pods:
        if name(each) not in wanted["NetworkPolicy"] and wanted["NetworkPolicy"]:
            yield f"{name(each)} has no network policy"
        if each["kind"] == "StatefulSet" and each["spec"]["serviceName"] not in [service["metadata"]["name"] for service in wanted["Service"].get(name(each), [])]:
            yield f"{name(each)} names a service that is not its own"


def broken_scaling(resources):
    found = {name(resource): resource for resource in resources}
    for resource in resources:
        if resource["kind"] not in ("HorizontalPodAutoscaler", "ScaledObject"):
            continue
        target = resource["spec"]["scaleTargetRef"]
        scaled = found.get(f"{target['kind']}/{target['name']}")
        if not scaled:
            yield f"{name(resource)} scales {target['name']}, which is not there"
        elif "replicas" in scaled["spec"]:
            yield f"{name(scaled)} is scaled and says how many replicas it has"


def broken_hooks(resources, services):
    """A hook runs before the rest of its release is there, so it may need nothing of it."""
    found = {name(resource): resource for resource in resources}
    for resource in resources:
        annotations = resource["metadata"].get("annotations", {})
        if annotations.get("helm.sh/hook") == "test":
            for argument in resource["spec"]["containers"][0]["args"]:
                if argument.startswith("--at=") and argument[5:].split(":")[0] not in services:
                    yield f"{name(resource)} asks {argument[5:]}, which is not there"
        if resource["kind"] != "Job":
            continue
        for volume in pod(resource)["volumes"]:
            if "configMap" in volume:
                map = found.get(f"ConfigMap/{volume['configMap']['name']}")
                if not map or "helm.sh/hook" not in map["metadata"].get("annotations", {}):
                    yield f"{name(resource)} mounts {volume['configMap']['name']}, which comes after it"
                elif map["data"] != found[f"ConfigMap/{resource['metadata']['name'].removesuffix('-migrate')}"]["data"]:
                    yield f"{name(resource)} checks another configuration than the services run"
