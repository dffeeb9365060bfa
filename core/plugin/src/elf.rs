//! Reads a plugin's ELF headers before anything of it runs.
//!
//! `dlopen` runs a library's constructors before any check can be made, and maps what the headers
//! describe, so a truncated file kills the process with SIGBUS. This module detects such files first.

use evbus_abi::{MANIFEST_MAX_BYTES, MANIFEST_SECTION, SYMBOL_PREFIX, SYMBOL_V1};
use object::elf::FileHeader64;
use object::read::elf::{
    FileHeader as _, ProgramHeader as _, SectionHeader as _, SectionTable, Sym as _,
};
use object::{Endianness, ReadRef, elf};

use super::manifest::Manifest;
use evbus_report::foreign_text;

/// A longer symbol name is truncated.
const MAX_SYMBOL_BYTES: usize = 64;

/// Checks that `data` is a complete shared library for this machine with a v1 plugin header, and returns its manifest.
/// Reads little more than its headers.
///
/// # Errors
///
/// One sentence on what was found and what was expected.
pub(crate) fn read<'d>(data: impl ReadRef<'d>) -> Result<Manifest, String> {
    let Headers { endian, sections } = check(data)?;
    let Some((_, section)) = sections.section_by_name(endian, MANIFEST_SECTION.as_bytes()) else {
        return Err("it has no manifest; rebuild it with this host's evbus-sdk".to_owned());
    };
    let unreadable =
        || format!("its section {MANIFEST_SECTION} cannot be read; copy the file again");
    let json = section.data(endian, data).map_err(|_| unreadable())?;
    if json.len() > MANIFEST_MAX_BYTES {
        return Err(format!(
            "its manifest is {} bytes long; expected at most {MANIFEST_MAX_BYTES}",
            json.len()
        ));
    }
    Manifest::parse(json)
}

/// Whether the file makes the dynamic linker search for libraries beside it. False if the file cannot be read.
pub(crate) fn looks_beside_itself(bytes: &[u8]) -> bool {
    const NAMES: [&[u8]; 2] = [b"$ORIGIN", b"${ORIGIN}"];
    let Ok(Headers { endian, sections }) = headers(bytes) else {
        return false;
    };
    let strings = sections.section_by_name(endian, b".dynstr");
    let strings = strings.and_then(|(_, section)| section.data(endian, bytes).ok());
    strings.is_some_and(|strings| {
        NAMES
            .iter()
            .any(|name| strings.windows(name.len()).any(|part| part == *name))
    })
}

/// The positions of what is read from a file. The table of all symbols, which is a seventh of a plugin, is not read,
/// unlike with `object::File`.
struct Headers<'d, R: ReadRef<'d>> {
    endian: Endianness,
    sections: SectionTable<'d, FileHeader64<Endianness>, R>,
}

fn headers<'d, R: ReadRef<'d>>(data: R) -> object::Result<Headers<'d, R>> {
    let header = FileHeader64::<Endianness>::parse(data)?;
    let endian = header.endian()?;
    let sections = header.sections(endian, data)?;
    Ok(Headers { endian, sections })
}

fn check<'d, R: ReadRef<'d>>(data: R) -> Result<Headers<'d, R>, String> {
    let len = data.len().unwrap_or_default();
    let magic = data.read_bytes_at(0, elf::ELFMAG.len() as u64);
    if magic != Ok(&elf::ELFMAG) {
        return Err(if len == 0 {
            "it is empty; expected a shared library (ELF)".to_owned()
        } else {
            "it is not a shared library: it has no ELF header; expected a plugin file (.so)"
                .to_owned()
        });
    }
    let cut = |why: &str| format!("it is damaged or truncated ({why}, {len} bytes); copy it again");
    let damaged = |error: object::Error| cut(&error.to_string());
    let header = FileHeader64::<Endianness>::parse(data).map_err(damaged)?;
    let found = headers(data).map_err(damaged)?;
    let endian = found.endian;
    if header.e_machine(endian) != MACHINE {
        return Err(format!(
            "it was built for another processor (ELF machine {}); expected {} ({})",
            header.e_machine(endian).0,
            MACHINE.0,
            std::env::consts::ARCH
        ));
    }
    if header.e_type(endian) != elf::ET_DYN {
        return Err("it is an ELF file but not a shared library; build it as a cdylib".to_owned());
    }
    for segment in header.program_headers(endian, data).map_err(damaged)? {
        let (offset, size) = segment.file_range(endian);
        let end = offset.checked_add(size);
        if end.is_none_or(|end| end > len) {
            return Err(cut("its headers describe more"));
        }
    }
    let symbols = (found.sections)
        .symbols(endian, data, elf::SHT_DYNSYM)
        .map_err(damaged)?;
    let exported: Vec<String> = (symbols.iter())
        .filter(|symbol| symbol.is_definition(endian, symbols.strings()))
        .filter_map(|symbol| symbol.name(endian, symbols.strings()).ok())
        .filter_map(|name| str::from_utf8(name).ok())
        .filter(|name| name.starts_with(SYMBOL_PREFIX))
        .map(|name| foreign_text::line(name, MAX_SYMBOL_BYTES).into_owned())
        .collect();
    if exported.iter().any(|name| name == SYMBOL_V1) {
        return Ok(found);
    }
    match exported
        .first()
        .and_then(|name| name.strip_prefix(SYMBOL_PREFIX))
    {
        Some(version) => Err(format!(
            "it uses plugin ABI {version}, but this host supports 1; rebuild it with this host's \
             evbus-sdk or use a newer host"
        )),
        None => Err(format!(
            "it is a shared library but not an evbus plugin: it does not export {SYMBOL_V1}"
        )),
    }
}

#[cfg(target_arch = "x86_64")]
const MACHINE: elf::Machine = elf::EM_X86_64;
#[cfg(target_arch = "aarch64")]
const MACHINE: elf::Machine = elf::EM_AARCH64;
#[cfg(target_arch = "riscv64")]
const MACHINE: elf::Machine = elf::EM_RISCV;
