(* SPDX-License-Identifier: Apache-2.0 *)
(* /etc/default/grub and its drop-ins, as lines: an assignment of a variable that holds a kernel command line is a
   node with its value as written, quotes included; all lines between two of those are kept whole. What encloses a
   line (a condition, a function) is the shell reader's business, not the lens'. *)
module Grubdefault =

let variable = /GRUB_CMDLINE_LINUX(_DEFAULT)?/

(* A shell word: double quotes, single quotes, escaped and plain characters. No command substitution outside quotes. *)
let double   = /"([^"\\]|\\\\(.|\n))*"/
let single   = /'[^']*'/
let escaped  = /\\\\./
let plain    = /[^ \t\n"'\\;&|<>()`]/
let word     = (double|single|escaped|plain)*

let indent   = del /[ \t]*(export[ \t]+)?/ ""
let tail     = del /([ \t]*(;[ \t]*)?|([ \t]+|[ \t]*;[ \t]*)#[^\n]*)\n/ "\n"

(* `+=` is what bash appends by: the sign stays, and the value is what is appended. *)
let assign   = [ indent . key variable . del /\+?=/ "=" . store word . tail ]

let other    = /[^\n]*/ - (/[ \t]*(export[ \t]+)?/ . variable . /\+?=[^\n]*/)
(* Other lines are one node, however many: a node each would cost time by the square of their number. *)
let lines    = [ label "lines" . store (other . /\n/)+ ]

let lns      = lines? . (assign . lines?)*
