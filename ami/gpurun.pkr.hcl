# The same image by Packer, for those who use it: the same versions, the same scripts.
#
#     packer init gpurun.pkr.hcl
#     packer build -var region=us-east-1 gpurun.pkr.hcl
#
# gpurun finds it as it finds its own: resources.image: tag:gpurun:image=gpurun

packer {
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = ">= 1.3.0"
    }
  }
}

variable "region" {
  type    = string
  default = "us-east-1"
}

variable "name" {
  type    = string
  default = "gpurun"
}

variable "architecture" {
  type    = string
  default = "x86_64"
}

variable "instance_type" {
  type    = string
  default = "m7i.large"
}

locals {
  files          = concat(["clean.sh", "provision.sh", "smoke_test.py", "versions.env"], sort(fileset(path.root, "*.whl")))
  versions       = file("${path.root}/versions.env")
  base_parameter = replace(regex("(?m)^BASE_IMAGE=\"ssm:([^\"]+)\"", local.versions)[0], "{architecture}", var.architecture)
  recipe         = sha256(join("\n", [for name in local.files : "${filesha256("${path.root}/${name}")}  ${name}"]))
  stamp          = formatdate("YYYYMMDD-hhmmss", timestamp())
  tags = {
    "gpurun:image"   = var.name
    "gpurun:bake"    = "packer"
    "gpurun:recipe"  = local.recipe
    "gpurun:created" = timestamp()
    "Name"           = "gpurun ${var.name}"
  }
}

data "amazon-parameterstore" "base" {
  name   = local.base_parameter
  region = var.region
}

source "amazon-ebs" "gpurun" {
  ami_name                  = "gpurun-${var.name}-${local.stamp}"
  region                    = var.region
  instance_type             = var.instance_type
  source_ami                = data.amazon-parameterstore.base.value
  ssh_username              = "ubuntu"
  encrypt_boot              = true
  tags                      = local.tags
  snapshot_tags             = local.tags
  imds_support              = "v2.0"
  shutdown_behavior         = "terminate"
  ssh_clear_authorized_keys = true

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
}

build {
  sources = ["source.amazon-ebs.gpurun"]

  provisioner "shell" {
    inline = ["mkdir -p /tmp/gpurun-bake", "cloud-init status --wait || true"]
  }

  provisioner "file" {
    sources     = [for name in local.files : "${path.root}/${name}"]
    destination = "/tmp/gpurun-bake/"
  }

  provisioner "shell" {
    inline = [
      "sudo bash /tmp/gpurun-bake/provision.sh",
      "/opt/gpurun/bin/python /tmp/gpurun-bake/smoke_test.py",
      "sudo bash -c 'exec bash <(cat /tmp/gpurun-bake/clean.sh) /'",
    ]
  }
}
