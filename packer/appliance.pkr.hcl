# The appliance's image, built in a virtual machine on this one. `make image` gives all of the variables; by hand:
#   packer build -var base=… -var payload=… -var seed=… -var output=… packer/appliance.pkr.hcl
# One file that Packer 1.6.6 (Debian's) takes as well as today's, which wants plugins first: plugins.pkr.hcl.

variable "base" {
  type        = string
  description = "A bootable Debian 12 with cloud-init (packer/base)."
}

variable "payload" {
  type        = string
  description = "What packer/payload.sh makes: the steps, and what they install."
}

variable "seed" {
  type        = string
  description = "Folder with user-data and meta-data, which let in the user packer, and with that user's key."
}

variable "output" {
  type        = string
  description = "Folder to make, for the image."
}

variable "accelerator" {
  type    = string
  default = "kvm"
}

variable "apt_proxy" {
  type        = string
  default     = ""
  description = "A proxy for apt while the image is built, like http://10.0.2.2:3142."
}

variable "disk_size" {
  type        = string
  default     = "8G"
  description = "The image's nominal size; a larger disk is grown into at boot."
}

source "qemu" "appliance" {
  accelerator      = var.accelerator
  iso_url          = var.base
  iso_checksum     = "none"
  disk_image       = true
  disk_size        = var.disk_size
  disk_interface   = "virtio"
  disk_discard     = "unmap"
  disk_compression = true
  format           = "qcow2"
  vm_name          = "playwright-appliance.qcow2"
  output_directory = var.output

  cpus     = 2
  memory   = 2048
  headless = true
  cd_label = "cidata"
  cd_files = ["${var.seed}/user-data", "${var.seed}/meta-data"]
  qemuargs = [
    # Wheels may want more than qemu64 has.
    ["-cpu", "max"],
    # By default the forwarded port would be open to the network.
    ["-netdev", "user,id=user.0,hostfwd=tcp:127.0.0.1:{{ .SSHHostPort }}-:22"],
    ["-device", "virtio-net,netdev=user.0"],
    ["-device", "virtio-rng-pci"],
    ["-serial", "file:${var.output}.console"],
  ]

  communicator         = "ssh"
  ssh_username         = "packer"
  ssh_private_key_file = "${var.seed}/key"
  ssh_timeout          = "15m"
  boot_wait            = "1s"
  shutdown_command     = "sudo /tmp/payload/provision/seal packer"
  shutdown_timeout     = "10m"
}

build {
  sources = ["source.qemu.appliance"]

  provisioner "file" {
    source      = var.payload
    destination = "/tmp/payload.tar"
  }

  provisioner "shell" {
    inline = [
      "mkdir /tmp/payload && tar -xf /tmp/payload.tar -C /tmp/payload && rm /tmp/payload.tar",
      "sudo APT_PROXY='${var.apt_proxy}' /tmp/payload/provision/all machine",
    ]
  }
}
