(* SPDX-License-Identifier: Apache-2.0 *)
module Test_bls =

test Bls.lns get "title Arch\n\n# options a\noptions  root=/dev/sda1  rw \n\toptions\tquiet\n" =
  { "title" = "Arch" }
  { "#line" = "" }
  { "#line" = "# options a" }
  { "options" = "root=/dev/sda1  rw " }
  { "options" = "quiet" }

(* What is no key with a value is a line. *)
test Bls.lns get "options\noptions \noptionsx a\noptions: a\na/b c\n options b\r\n\r\n" =
  { "#line" = "options" }
  { "#line" = "options " }
  { "optionsx" = "a" }
  { "#line" = "options: a" }
  { "#line" = "a/b c" }
  { "options" = "b\r" }
  { "#line" = "\r" }

(* Separator, indent and every other line stay. *)
test Bls.lns put "title\tA\n\n#\n \toptions\t rw \n" after set "/options" "rw iommu=pt " =
  "title\tA\n\n#\n \toptions\t rw iommu=pt \n"
test Bls.lns put "options a\noptions b\noptions c\n" after set "/options[2]" "d" = "options a\noptions d\noptions c\n"
test Bls.lns put "linux /vmlinuz\n" after set "/options" "iommu=pt" = "linux /vmlinuz\noptions iommu=pt\n"

(* A value that would become another line, or no value, is refused. *)
test Bls.lns put "options a\n" after set "/options" "a\nefi /x" = *
test Bls.lns put "options a\n" after set "/options" "" = *
test Bls.lns put "options a\n" after set "/options" " a" = *
