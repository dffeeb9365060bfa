//! The program's own code in memory.

use std::ffi::c_void;
use std::fs;
use std::ops::Range;

use rustix::mm::{Advice, madvise};

/// Lets go of the pages of the program's own code: most of them were needed by the start only. Those that are
/// needed again come back from the page cache, sixteen at a time and in a few microseconds. Call it once, when the
/// program has started.
pub fn release_startup_code() {
    if is_traced() {
        // A debugger may have put breakpoints into the code.
        return;
    }
    let (Ok(maps), Ok(program)) = (
        fs::read_to_string("/proc/self/maps"),
        fs::read_link("/proc/self/exe"),
    ) else {
        // Then the code stays mapped, which only costs memory.
        return;
    };
    let Some(program) = program.to_str() else {
        return;
    };
    for code in maps.lines().filter_map(|line| code_of(line, program)) {
        let start = std::ptr::with_exposed_provenance_mut::<c_void>(code.start);
        // SAFETY: the range is a private, executable and unwritable mapping of the program's file. Nothing was ever
        // written to it: the program has no relocations in its code, which the linker refuses by default, and no
        // debugger changes it. So every page has the content of the file, from which it is read again, and the kernel
        // prevents writing to the file of a running program. An error means that the code stays mapped.
        let _ = unsafe { madvise(start, code.len(), Advice::LinuxDontNeed) };
    }
}

/// Whether a debugger is attached, or whether that is unknown.
fn is_traced() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let tracer = status
        .lines()
        .find_map(|line| line.strip_prefix("TracerPid:"));
    tracer.is_none_or(|pid| pid.trim() != "0")
}

/// The addresses in a line of `/proc/self/maps`, if it is code of this program.
fn code_of(line: &str, program: &str) -> Option<Range<usize>> {
    let (range, rest) = line.split_once(' ')?;
    let mut fields = rest.split_ascii_whitespace();
    let is_code = fields.next() == Some("r-xp") && rest.ends_with(program);
    let path = fields.nth(3)?;
    let (start, end) = range
        .split_once('-')
        .filter(|_| is_code && program.starts_with(path))?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    Some(address(start)?..address(end)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the program's code is, and how much of it is in this process's memory, in KiB.
    fn code_in_memory() -> (Range<usize>, usize) {
        let program = fs::read_link("/proc/self/exe").expect("it is there");
        let program = program.to_str().expect("it is a text");
        let maps = fs::read_to_string("/proc/self/smaps").expect("it is there");
        let mut lines = maps.lines();
        let code = lines.find_map(|line| code_of(line, program));
        let resident = lines.find_map(|line| line.strip_prefix("Rss:"));
        let number = resident.and_then(|line| line.split_ascii_whitespace().next());
        let number = number.and_then(|number| number.parse().ok());
        (code.expect("code"), number.expect("a number"))
    }

    #[test]
    fn code_that_is_let_go_takes_no_memory_and_runs_again() {
        let (code, _) = code_in_memory();
        for page in code.clone().step_by(4096) {
            let byte = std::ptr::with_exposed_provenance::<u8>(page);
            // SAFETY: it is mapped for reading as long as the process lives.
            std::hint::black_box(unsafe { byte.read_volatile() });
        }
        let (_, all) = code_in_memory();
        assert_eq!(all, code.len() / 1024);
        release_startup_code();
        // Code that has run since is mapped again.
        let (_, after) = code_in_memory();
        assert!(after < all, "{all} KiB before, {after} after");
    }

    #[test]
    fn only_the_programs_own_code_is_let_go() {
        let program = "/usr/bin/a program";
        let of = |line: &str| code_of(line, program);
        assert_eq!(
            of("1000-3000 r-xp 00000000 fe:00 42 /usr/bin/a program"),
            Some(0x1000..0x3000)
        );
        for other in [
            "1000-3000 r--p 00000000 fe:00 42 /usr/bin/a program",
            "1000-3000 rw-p 00000000 fe:00 42 /usr/bin/a program",
            "1000-3000 r-xp 00000000 fe:00 42 /usr/lib/libc.so.6",
            "1000-3000 r-xp 00000000 00:01 42 /memfd:evbus:a program (deleted)",
            "1000-3000 r-xp 00000000 00:00 0 [vdso]",
            "1000-3000 rwxp 00000000 00:00 0",
            "",
        ] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
