"""The look of all reports: one style, charts as SVG, tables, HTML pages that load nothing from elsewhere.

For other folders:
    chart_files: ChartFile, write_charts
    html: charts, commands, document, lead, listed, MAX_PAGE_BYTES, section, table, Thumbnail, thumbnails
    odd_names: in_markdown, in_picture
    style: matplotlib_style
    svg: Chart, color_class, element, escaped, line_between, marker, path_through, picture, Scale, scale_for, axes
    tables: Cell, markdown_table, Table
"""
