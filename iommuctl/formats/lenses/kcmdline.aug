(* SPDX-License-Identifier: Apache-2.0 *)
(* /etc/kernel/cmdline, as lines: a line that is neither blank nor a comment is a node `cmdline`, whole; every other
   line is kept as it is. *)
module Kcmdline =

let other   = /[ \t\r]*(#[^\n]*)?/

let cmdline = [ label "cmdline" . store (/[^\n]*/ - other) . del "\n" "\n" ]
let line    = [ label "line" . store other . del "\n" "\n" ]

let lns     = (cmdline|line)*
