(* SPDX-License-Identifier: Apache-2.0 *)
(* /etc/default/grub and its drop-ins, as lines: an assignment of a variable that holds a kernel command line is a
   node with its value as written, quotes included; every other line is kept whole. What encloses a
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
let line     = [ label "line" . store other . del "\n" "\n" ]

let lns      = (assign|line)*

(* For texts of thousands of lines: all lines between two assignments are one node, since a node each would cost time by
   the square of their number. What it takes to read them so, megabytes of tables, shorter texts are spared. *)
let lines    = [ label "lines" . store (other . /\n/)+ ]

let long     = lines? . (assign . lines?)*
