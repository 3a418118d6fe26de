(* SPDX-License-Identifier: Apache-2.0 *)
module Test_kcmdline =

test Kcmdline.lns get "\n# a\n root=/dev/sda1  rw \n \t# b\nquiet # c\n" =
  { "line" = "" }
  { "line" = "# a" }
  { "cmdline" = " root=/dev/sda1  rw " }
  { "line" = " \t# b" }
  { "cmdline" = "quiet # c" }

test Kcmdline.lns get "dyndbg=\"file x +p\" a=\"b\" foo:bar=1 resume= $x -- s\r\n" =
  { "cmdline" = "dyndbg=\"file x +p\" a=\"b\" foo:bar=1 resume= $x -- s\r" }

test Kcmdline.lns put "# a\nquiet\n\nrw\n" after set "/cmdline[1]" "quiet iommu=pt" = "# a\nquiet iommu=pt\n\nrw\n"
test Kcmdline.lns put "# a\n" after set "/cmdline" "iommu=pt" = "# a\niommu=pt\n"

(* A value that would become two lines, or a comment, is refused. *)
test Kcmdline.lns put "a\n" after set "/cmdline" "a\nb" = *
test Kcmdline.lns put "a\n" after set "/cmdline" "# a" = *
test Kcmdline.lns put "a\n" after set "/cmdline" " " = *
