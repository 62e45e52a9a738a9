//! The pages of the program's own file that nobody needs any more.
//!
//! To read the configuration and to compile filters takes much of the program, and the kernel maps
//! 64 KiB around each page that is touched: half of the file is in a daemon's memory that needs a
//! tenth of it from then on.

use std::ffi::{c_int, c_void};
use std::fs;
use std::ops::Range;

/// Gives back all of them that can be had again: what is needed comes from the page cache, and stays.
/// Not to be done again and again, or bans wait for what those before them had.
pub(crate) fn give_back() {
    // They stay where the system does not tell of them.
    let Ok(program) = std::env::current_exe() else { return };
    let Ok(mappings) = fs::read_to_string("/proc/self/smaps") else { return };
    for Range { start, end } in unchanged(&mappings, &program.to_string_lossy()) {
        let start = std::ptr::with_exposed_provenance_mut(start);
        #[allow(unsafe_code, reason = "a function of the C library, madvise(2)")]
        // SAFETY: nothing is lost, as every page of these mappings is still as it is in the file and
        // none can be written to. Where it fails they stay.
        let _ = unsafe { madvise(start, end - start.addr(), MADV_DONTNEED) };
    }
}

/// The mappings of a program among those of smaps (proc_pid_smaps(5)) that cannot be written to, and
/// of which no page ever was: relocations change some before they are protected.
fn unchanged(mappings: &str, program: &str) -> Vec<Range<usize>> {
    let mut current = None;
    let mut found = Vec::new();
    for line in mappings.lines() {
        if let Some(place) = place(line) {
            let is_own = line.strip_suffix(program).is_some_and(|it| it.ends_with(' '));
            let is_fixed = line.split(' ').nth(1).is_some_and(|it| it.starts_with("r-"));
            current = Some(place).filter(|_| is_own && is_fixed);
        } else if line.strip_prefix("Anonymous:").is_some_and(|it| it.trim() == "0 kB") {
            found.extend(current.take());
        }
    }
    found
}

/// Where a mapping lies, of which this line is the first.
fn place(line: &str) -> Option<Range<usize>> {
    let (start, end) = line.split(' ').next()?.split_once('-')?;
    let number = |text| usize::from_str_radix(text, 16).ok();
    Some(number(start)?..number(end)?)
}

/// The same on every system that has it.
const MADV_DONTNEED: c_int = 4;

#[allow(unsafe_code, reason = "the declaration of a function of the C library, madvise(2)")]
// SAFETY: it is the C library's own signature.
unsafe extern "C" {
    fn madvise(start: *mut c_void, n_bytes: usize, advice: c_int) -> c_int;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_as_in_the_file_is_given_back() {
        let smaps = "\
1000-2000 r--p 00000000 08:01 42                         /usr/bin/our program
Rss:                  64 kB
Anonymous:             0 kB
2000-9000 r-xp 00001000 08:01 42                         /usr/bin/our program
Anonymous:             0 kB
9000-a000 r-xp 00008000 08:01 42                         /usr/bin/our program
Anonymous:             4 kB
a000-b000 r--p 00009000 08:01 42                         /usr/bin/our program
Anonymous:             4 kB
b000-c000 rw-p 0000a000 08:01 42                         /usr/bin/our program
Anonymous:             0 kB
c000-d000 r-xp 00000000 08:01 43                         /usr/lib/libc.so.6
Anonymous:             0 kB
d000-e000 r-xp 00000000 08:01 44                         /opt/usr/bin/our program
Anonymous:             0 kB
e000-f000 r-xp 00000000 00:00 0                          [vdso]
Anonymous:             0 kB
VmFlags: rd ex mr
";
        let want = [0x1000..0x2000, 0x2000..0x9000];
        assert_eq!(unchanged(smaps, "/usr/bin/our program"), want);
    }

    /// What is in memory of the program's own mappings, in KiB.
    fn resident() -> u32 {
        let program = std::env::current_exe().expect("a program");
        let mappings = fs::read_to_string("/proc/self/smaps").expect("it is ours");
        let own = unchanged(&mappings, &program.to_string_lossy());
        let mut is_own = false;
        let mut sum = 0;
        for line in mappings.lines() {
            if let Some(place) = place(line) {
                is_own = own.contains(&place);
            } else if let Some(rss) = line.strip_prefix("Rss:").filter(|_| is_own) {
                sum += rss.trim().trim_end_matches(" kB").parse::<u32>().expect("a number");
            }
        }
        sum
    }

    #[test]
    fn the_program_goes_on_with_less() {
        let before = resident();
        give_back();
        let after = resident();
        assert!(after < before, "{after} of {before} KiB");
    }
}
