# What today's Packer needs beside itself; `packer init packer/plugins.pkr.hcl` gets it. Debian's Packer 1.6.6 has
# these builders built in and does not know this block, so it is in no template.
packer {
  required_plugins {
    qemu = {
      source  = "github.com/hashicorp/qemu"
      version = "~> 1"
    }
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = "~> 1"
    }
  }
}
