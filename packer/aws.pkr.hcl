# The appliance as an AMI, built in an instance that starts from Debian's own AMI:
#   packer/payload.sh build/payload.tar && packer build -var payload=build/payload.tar packer/aws.pkr.hcl
# For Graviton, ARCH=arm64 packer/payload.sh …, and -var arch=arm64 -var instance_type=c7g.large.
# Account and region come from the environment or ~/.aws, as for AWS' own tools.

variable "payload" {
  type        = string
  description = "What packer/payload.sh makes: the steps, and what they install."
}

variable "region" {
  type    = string
  default = "eu-central-1"
}

variable "arch" {
  type        = string
  default     = "amd64"
  description = "The processors, as Debian calls them: amd64 or arm64."
}

variable "instance_type" {
  type    = string
  default = "c6i.large"
}

locals {
  debian_account = "136693071363" # wiki.debian.org/Cloud/AmazonEC2Image/Bookworm
}

source "amazon-ebs" "appliance" {
  region          = var.region
  instance_type   = var.instance_type
  ami_name        = "playwright-appliance-{{ timestamp }}"
  ami_description = "A machine that is a Playwright grid"
  ena_support     = true
  # The machine switches itself off.
  disable_stop_instance = true
  ssh_username          = "admin"

  source_ami_filter {
    filters = {
      name                = "debian-12-${var.arch}-*"
      virtualization-type = "hvm"
      root-device-type    = "ebs"
    }
    owners      = [local.debian_account]
    most_recent = true
  }

  launch_block_device_mappings {
    device_name           = "/dev/xvda"
    volume_size           = 8
    volume_type           = "gp3"
    throughput            = 125
    iops                  = 3000
    delete_on_termination = true
  }
}

build {
  sources = ["source.amazon-ebs.appliance"]

  provisioner "file" {
    source      = var.payload
    destination = "/tmp/payload.tar"
  }

  provisioner "shell" {
    inline = [
      "mkdir /tmp/payload && tar -xf /tmp/payload.tar -C /tmp/payload && rm /tmp/payload.tar",
      "sudo /tmp/payload/provision/all machine",
    ]
  }

  # It ends by switching the machine off.
  provisioner "shell" {
    inline            = ["sudo /tmp/payload/provision/seal admin"]
    expect_disconnect = true
    skip_clean        = true
  }
}
