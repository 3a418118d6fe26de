(* SPDX-License-Identifier: Apache-2.0 *)
module Test_grubdefault =

let lns = Grubdefault.lns

(* Blank lines, bare comment signs and foreign shell stay as lines; the value keeps its quotes. *)
test lns get "\n#\n# about\nGRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\" # c\nfi # d\n" =
  { "line" = "" }
  { "line" = "#" }
  { "line" = "# about" }
  { "line" = "GRUB_DEFAULT=0" }
  { "GRUB_CMDLINE_LINUX_DEFAULT" = "\"quiet\"" }
  { "line" = "fi # d" }

(* In a long text what is between two assignments is one node. *)
test Grubdefault.long get "\n#\n# about\nGRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX_DEFAULT=\"quiet\" # c\nfi # d\n" =
  { "lines" = "\n#\n# about\nGRUB_DEFAULT=0\n" }
  { "GRUB_CMDLINE_LINUX_DEFAULT" = "\"quiet\"" }
  { "lines" = "fi # d\n" }

(* Every shape of a word. *)
test lns get "GRUB_CMDLINE_LINUX=\n" = { "GRUB_CMDLINE_LINUX" = "" }
test lns get "GRUB_CMDLINE_LINUX='a b';\n" = { "GRUB_CMDLINE_LINUX" = "'a b'" }
test lns get "export GRUB_CMDLINE_LINUX=a\\ b\"c d\"e\n" = { "GRUB_CMDLINE_LINUX" = "a\\ b\"c d\"e" }
test lns get "\tGRUB_CMDLINE_LINUX=\"x=\\\"a b\\\" \\$y\"\n" = { "GRUB_CMDLINE_LINUX" = "\"x=\\\"a b\\\" \\$y\"" }
test lns get "GRUB_CMDLINE_LINUX=\"a \\\nb\"\n" = { "GRUB_CMDLINE_LINUX" = "\"a \\\nb\"" }
test lns get "GRUB_CMDLINE_LINUX=a[1]#b\n" = { "GRUB_CMDLINE_LINUX" = "a[1]#b" }

(* A longer name is another variable; += is another way to assign this one, and stays. *)
test lns get "GRUB_CMDLINE_LINUX_RECOVERY=single\nGRUB_CMDLINE_LINUX+=x\n" =
  { "line" = "GRUB_CMDLINE_LINUX_RECOVERY=single" }
  { "GRUB_CMDLINE_LINUX" = "x" }

test lns put "GRUB_CMDLINE_LINUX+=x\n" after set "/GRUB_CMDLINE_LINUX" "\"y\"" = "GRUB_CMDLINE_LINUX+=\"y\"\n"

(* An edit changes the value and nothing beside it. *)
test lns put "\n\n  GRUB_CMDLINE_LINUX=\"\" ; # c\n\nGRUB_CMDLINE_LINUX_DEFAULT=quiet\n" after
    set "/GRUB_CMDLINE_LINUX" "\"iommu=pt\""
  = "\n\n  GRUB_CMDLINE_LINUX=\"iommu=pt\" ; # c\n\nGRUB_CMDLINE_LINUX_DEFAULT=quiet\n"

(* A new variable goes to the end. *)
test lns put "A=1\n" after set "/GRUB_CMDLINE_LINUX_DEFAULT" "\"iommu=pt\"" =
  "A=1\nGRUB_CMDLINE_LINUX_DEFAULT=\"iommu=pt\"\n"

(* What is not one word is refused. *)
test lns get "GRUB_CMDLINE_LINUX=\"a\" b\n" = *
test lns get "GRUB_CMDLINE_LINUX=\"a\n" = *
test lns get "GRUB_CMDLINE_LINUX=$(cat x)\n" = *
